"""Minimal-norm and decision-based attacks of the package foolbox, behind one adapter."""

import os
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor

from holomorph.attacks.base import Needs
from holomorph.contract.classifier import Classifier
from holomorph.errors import MissingExtraError
from holomorph.threats import ThreatModel

Name = Literal["fmn", "ddn", "cw", "boundary"]

_FMN = {"inf": "LInfFMNAttack", "1": "L1FMNAttack"}


@dataclass(frozen=True)
class FoolboxAttack:
    r"""A foolbox attack that looks for the nearest adversarial input: $\min \|\delta\|_p$ with a wrong prediction.

    Parameters
    ----------
    name:
        ``fmn`` (fast minimum norm: any norm), ``ddn`` (decoupled direction and norm: l_2), ``cw`` (Carlini and
        Wagner: l_2) or ``boundary`` (decision-based, l_2, reads predictions only).
    threat:
        The norm to minimise and the box; the radius is not used.
    steps:
        Iterations.
    everyone:
        Whether it runs on every sample, so that the accuracy-eps curve can be drawn from it.

    Raises
    ------
    MissingExtraError
        When foolbox is not installed.

    Source: docs/evaluation.md; Rauber et al. 2020 (foolbox), Pintor et al. 2021 (FMN), Rony et al. 2019 (DDN),
    Carlini and Wagner 2017, Brendel et al. 2018 (boundary).
    """

    name: Name
    threat: ThreatModel
    steps: int = 100
    everyone: bool = False

    @property
    def needs(self) -> Needs:
        """The boundary attack alone reads no gradients; it, DDN and Carlini and Wagner's know l_2 only."""
        boundary = self.name == "boundary"
        return Needs(
            "none" if boundary else "margin",
            gradients=not boundary,
            norms=frozenset({"2"} if self.name in ("ddn", "cw") else {"inf", "2", "1"}),
            everyone=self.everyone,
            curve=not boundary,
            package="foolbox",
        )

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"steps": self.steps} | ({"binary_search_steps": 5} if self.name == "cw" else {})

    def __call__(
        self, classifier: Classifier, x: Tensor, y: Tensor, seed: int, *, starts: Tensor | None = None
    ) -> Tensor:
        """Run the attack on one batch, in single precision; see :class:`holomorph.attacks.base.Attack`.

        ``starts`` are wrong points for the boundary attack to start from; it looks for its own unless given.
        """
        foolbox = import_foolbox()
        low, high = self.threat.box
        inner = _Typed(classifier, x.dtype)
        model = foolbox.PyTorchModel(inner.eval(), bounds=(low, high), device=x.device)
        start = x.float().clamp(low, high)
        options = {}
        if self.name == "boundary":
            everyone = torch.ones_like(y, dtype=torch.bool)
            start_points, usable = (
                _starting_points(classifier, x, y, self.threat, seed) if starts is None else (starts, everyone)
            )
            if not usable.any():
                return x
            options["starting_points"] = start_points[usable].float()
            start, x, y, everything = start[usable], x[usable], y[usable], x
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._attack(foolbox).run(model, start, foolbox.Misclassification(y), **options)
            if self.name == "fmn":
                found = self._unstuck(foolbox, model, classifier, x, found, y, seed)
        found = found.detach().to(x.dtype)
        return found if self.name != "boundary" else everything.index_put((usable,), found)

    def _unstuck(
        self, foolbox: ModuleType, model: Any, classifier: Classifier, x: Tensor, found: Tensor, y: Tensor, seed: int
    ) -> Tensor:
        """Begin again from wrong points where FMN never crossed: on a linear model it can stay on a tie for ever."""
        start = x.float().clamp(*self.threat.box)
        todo = (found == start).flatten(1).all(1)
        if not todo.any():
            return found
        starts, usable = _starting_points(classifier, x, y, self.threat, seed)
        todo &= usable & (classifier.predictions(x) == y)
        if not todo.any():
            return found
        criterion = foolbox.Misclassification(y[todo])
        again = self._attack(foolbox).run(model, start[todo], criterion, starting_points=starts[todo].float())
        return found.index_put((todo,), again)

    def _attack(self, foolbox: ModuleType) -> Any:
        attacks = foolbox.attacks
        if self.name == "fmn":
            low, high = self.threat.box
            norm = self.threat.norm
            kind = _mended_l2(attacks, low, high) if norm == "2" else getattr(attacks, _FMN[norm])
            return kind(steps=self.steps, max_stepsize=high - low)
        if self.name == "ddn":
            return attacks.DDNAttack(steps=self.steps)
        if self.name == "cw":
            return attacks.L2CarliniWagnerAttack(steps=self.steps, binary_search_steps=5, initial_const=1.0)
        return attacks.BoundaryAttack(steps=self.steps)


class _Typed(torch.nn.Module):
    """The classifier for single-precision inputs; infinite distances at zero gradients are foolbox's to survive."""

    def __init__(self, classifier: Classifier, dtype: torch.dtype) -> None:
        super().__init__()
        self.classifier = classifier
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(x.to(self.dtype)).float()


def _mended_l2(attacks: ModuleType, low: float, high: float) -> Any:
    """FMN for l_2 with a projection: that of foolbox 3.3.4 multiplies by norm / norm and so never projects.

    The box comes first: half of a gradient points out of it where pixels are black, and projecting that half too
    leaves steps too short to reach any boundary.
    """

    class L2FMN(attacks.L2FMNAttack):  # type: ignore[name-defined, misc]
        def project(self, x: Any, x0: Any, epsilon: Any) -> Any:
            step = (x.clip(low, high) - x0).flatten(start=1)
            scale = (epsilon / step.norms.l2(axis=-1).maximum(1e-12)).minimum(1.0)
            return x0 + (step * scale.expand_dims(1)).reshape(x.shape)

    return L2FMN


def import_foolbox() -> ModuleType:
    """Import foolbox; its model zoo imports GitPython, which fails without a git program unless told to be quiet."""
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import foolbox
    except ImportError as error:
        raise MissingExtraError("foolbox", "attacks") from error
    return foolbox


def _starting_points(
    classifier: Classifier, x: Tensor, y: Tensor, threat: ThreatModel, seed: int
) -> tuple[Tensor, Tensor]:
    """For each sample the nearest point that the model predicts otherwise, and whether there is one.

    The points are the batch itself and as many uniform draws from the box.
    """
    low, high = threat.box
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(max(len(x), 100), *x.shape[1:], generator=generator, dtype=x.dtype).to(x.device)
    pool = torch.cat([x, low + drawn * (high - low)])
    distance = torch.cdist(x.flatten(1), pool.flatten(1))
    distance[classifier.predictions(pool)[None, :] == y[:, None]] = torch.inf
    nearest = distance.min(1)
    return pool[nearest.indices], nearest.values.isfinite()


def minimal_norm(threat: ThreatModel, steps: int = 100) -> list[FoolboxAttack]:
    """The attacks whose nearest adversarial inputs make the accuracy-eps curve.

    >>> [attack.name for attack in minimal_norm(ThreatModel(2, 0.5))]
    ['fmn', 'ddn']
    """
    names: tuple[Name, ...] = ("fmn", "ddn") if threat.norm == "2" else ("fmn",)
    return [FoolboxAttack(name, threat, steps, everyone=True) for name in names]
