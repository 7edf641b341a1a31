"""The authors' AutoAttack (package pyautoattack), one adapter object for each of its attacks."""

import logging
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from holomorph.attacks.base import Needs
from holomorph.attacks.unit_cube import UnitCube, UnitModel
from holomorph.contract.classifier import Classifier
from holomorph.errors import MissingExtraError
from holomorph.threats import ThreatModel

AutoAttackName = Literal["apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square"]

_NORM = {"inf": "Linf", "2": "L2", "1": "L1"}


@dataclass(frozen=True)
class AutoAttackStage:
    r"""One of AutoAttack's attacks with its standard settings, in any box and on inputs of any shape.

    Run in the order of :func:`standard`, on the survivors only and with the same seed and batch size, the stages
    give the same numbers as the package's own script.

    Parameters
    ----------
    name:
        The attack.
    threat:
        Norm, radius and box.
    classes:
        Number of classes; targeted attacks use at most classes - 1 targets.
    draws:
        Gradient samples of an expectation over transformation; above 1 as in the package's version "rand".
    steps, queries:
        Iterations of the white-box attacks and queries of Square; the standard ones are 100 and 5000.

    Raises
    ------
    MissingExtraError
        When pyautoattack is not installed.

    Source: docs/evaluation.md; Croce and Hein, ICML 2020.
    """

    name: AutoAttackName
    threat: ThreatModel
    classes: int
    draws: int = 1
    steps: int = 100
    queries: int = 5000

    @property
    def needs(self) -> Needs:
        """Square alone reads no gradients; the ratio losses compare three and four logits."""
        return Needs(
            "cross-entropy" if self.name == "apgd-ce" else "margin",
            gradients=self.name != "square",
            classes={"apgd-dlr": 3, "apgd-t": 4}.get(self.name, 2),
            averages=self.draws > 1,
            package="pyautoattack",
        )

    def settings(self) -> dict[str, Any]:
        """The package's settings that matter to the strength."""
        if self.name == "square":
            return {"queries": self.queries, "restarts": 1}
        chosen: dict[str, Any] = {"steps": self.steps, "restarts": self._restarts}
        if self.name in ("apgd-t", "fab-t"):
            chosen["targets"] = self._targets
        return chosen | ({"draws": self.draws} if self.draws > 1 else {})

    @property
    def _restarts(self) -> int:
        return 5 if self.name == "apgd-ce" and self.threat.norm == "1" else 1

    @property
    def _targets(self) -> int:
        standard = 5 if self.name == "apgd-t" and self.threat.norm == "1" else 9
        return min(standard, self.classes - 1)

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Run the attack on one batch; see :class:`holomorph.attacks.base.Attack`."""
        cube = UnitCube(tuple(x.shape[1:]), x.dtype, self.threat.box, square=self.name == "square")
        run = self._build(UnitModel(classifier, cube), str(x.device), seed)
        with torch.no_grad():
            return cube.decode(run.perturb(cube.encode(x), y).detach())

    def _build(self, model: UnitModel, device: str, seed: int) -> Any:
        """Make the package's object; its constructor sets the standard restarts and the schedule for l_1."""
        try:
            from pyautoattack import AutoAttack
        except ImportError as error:
            raise MissingExtraError("pyautoattack", "attacks") from error
        logging.getLogger("auto-attack").setLevel(logging.ERROR)
        low, high = self.threat.box
        suite = AutoAttack(
            model, norm=_NORM[self.threat.norm], eps=self.threat.radius / (high - low), seed=seed, device=device
        )
        if self.name == "square":
            suite.square.n_queries = self.queries
            return suite.square
        if self.name == "fab-t":
            suite.fab.targeted, suite.fab.n_target_classes, suite.fab.n_iter = True, self._targets, self.steps
            return suite.fab
        run = suite.apgd_targeted if self.name == "apgd-t" else suite.apgd
        if self.name == "apgd-t":
            run.n_target_classes = self._targets
        else:
            run.loss = self.name.removeprefix("apgd-")
        run.eot_iter = self.draws
        if self.steps != 100:
            _set_steps(run, self.steps)
        return run


def _set_steps(run: Any, steps: int) -> None:
    """Set the iterations of APGD with the check points that its constructor derives from them."""
    run.n_iter = run.n_iter_orig = steps
    run.n_iter_2, run.n_iter_min = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1)
    run.size_decr = max(int(0.03 * steps), 1)


def standard(threat: ThreatModel, classes: int) -> list[AutoAttackStage]:
    """AutoAttack's standard version; below four classes the targeted ratio loss is undefined and is left out.

    >>> [stage.name for stage in standard(ThreatModel("inf", 0.1), classes=10)]
    ['apgd-ce', 'apgd-t', 'fab-t', 'square']
    >>> [stage.name for stage in standard(ThreatModel("inf", 0.1), classes=2)]
    ['apgd-ce', 'fab-t', 'square']
    """
    names: tuple[AutoAttackName, ...] = ("apgd-ce", "apgd-t", "fab-t", "square")
    return [AutoAttackStage(name, threat, classes) for name in names if classes >= 4 or name != "apgd-t"]
