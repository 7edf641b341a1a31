"""Projected gradient ascent with momentum and step halving: the attack where no package serves, and the probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from holomorph.attacks.base import Needs
from holomorph.calculus.ascent import Around, climb
from holomorph.calculus.norms import dual_direction, per_sample, random_in_ball
from holomorph.contract.classifier import Classifier, margin
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into, resized

AttackLoss = Literal["margin", "scaled", "cross-entropy"]


class PGDResult(NamedTuple):
    """What an ascent of a classifier's loss saw.

    ``best`` is the point of the largest loss and ``final`` the last point. ``wrong`` is the last point that was
    misclassified, or x if there was none; ``broken`` says whether there was one. ``losses`` has the best loss so far
    after every step, (steps + 1, batch).
    """

    best: Tensor
    wrong: Tensor
    broken: Tensor
    final: Tensor
    losses: Tensor

    @property
    def proposal(self) -> Tensor:
        """The misclassified point where there is one, else the one of the largest loss."""
        return torch.where(per_sample(self.broken, self.best), self.wrong, self.best)

    @staticmethod
    def joined(parts: list[PGDResult]) -> PGDResult:
        """What was found for the parts of a batch as one."""
        *points, losses = zip(*parts, strict=True)
        best, wrong, broken, final = (torch.cat(part) for part in points)
        return PGDResult(best, wrong, broken, final, torch.cat(losses, 1))


class Objective:
    """A loss to climb, as a function of the points alone; it remembers where it saw a misclassified point.

    ``margin`` is the margin's negative; ``scaled`` divides that by the spread of the logits, whose scale then cannot
    saturate anything; ``cross-entropy`` is the usual loss.
    """

    def __init__(self, classifier: Classifier, x: Tensor, y: Tensor, kind: AttackLoss) -> None:
        self.classifier = classifier
        self.y = y
        self.kind = kind
        self.wrong = x.clone()
        self.broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def __call__(self, z: Tensor) -> Tensor:
        """The loss of each sample; where the model cuts the graph its gradient is zero, not an error."""
        logits = self.classifier(z)
        m = margin(logits, self.y)
        hit = m.detach() < 0
        self.wrong = torch.where(per_sample(hit, z), z.detach(), self.wrong)
        self.broken = self.broken | hit
        return self._loss(logits, m) + 0 * z.flatten(1).sum(1)

    def _loss(self, logits: Tensor, m: Tensor) -> Tensor:
        if self.kind == "margin":
            return -m
        if self.kind == "scaled":
            return -m / (logits.std(1).detach() + torch.finfo(logits.dtype).tiny)
        return torch.nn.functional.cross_entropy(logits, self.y, reduction="none")


def attack_ascent(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int = 100,
    loss: AttackLoss = "margin",
    start: Tensor | None = None,
) -> PGDResult:
    r"""Maximise a classifier's loss over the threat around x: momentum steps, halved where they stop improving.

    The first steps are $2\varepsilon$ long; after a tenth of the steps without a new best a sample's step is halved
    and it goes on from its best point. See :func:`holomorph.calculus.ascent.climb`.

    Source: docs/evaluation.md; after Croce and Hein, ICML 2020 (APGD), simplified.
    """
    objective = Objective(classifier, x, y, loss)
    found = climb(
        objective,
        x if start is None else into(x, start, threat),
        Around(x, threat),
        [2 * threat.radius] * steps,
        momentum=0.25,
        patience=max(1, steps // 10),
    )
    return PGDResult(found.best, objective.wrong, objective.broken, found.last, found.heights)


@dataclass(frozen=True)
class Pgd:
    """The ascent as an attack: ``restarts`` starts, the first at the sample, the others uniform in the threat.

    With ``far`` the first half of every run may go three times as far as the threat allows, so that a plateau
    around the sample is left behind before the threat is enforced. With ``corners`` the random starts lie on the
    threat's edge, in l_inf in its corners.
    """

    threat: ThreatModel
    loss: AttackLoss = "margin"
    steps: int = 100
    restarts: int = 1
    far: bool = False
    corners: bool = False
    label: str = ""

    @property
    def name(self) -> str:
        """For instance pgd-margin."""
        return self.label or f"pgd-{self.loss}{'-far' if self.far else ''}"

    @property
    def needs(self) -> Needs:
        """Gradients; it knows features of their own eps."""
        return Needs("cross-entropy" if self.loss == "cross-entropy" else "margin", features=True)

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"steps": self.steps, "restarts": self.restarts, "loss": self.loss, "far_start": self.far} | (
            {"corners": True} if self.corners else {}
        )

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Run every restart and keep a misclassified point where one was met, else the best."""
        generator = torch.Generator().manual_seed(seed)
        kept, left = x.clone(), torch.arange(len(x), device=x.device)
        for restart in range(self.restarts):
            run = self._run(classifier, x[left], y[left], None if restart == 0 else generator)
            kept[left] = run.proposal
            left = left[~run.broken]
            if len(left) == 0:
                break
        return kept

    def _run(self, classifier: Classifier, x: Tensor, y: Tensor, generator: torch.Generator | None) -> PGDResult:
        threat, start, steps = self.threat, None, self.steps
        if generator is not None:
            drawn = random_in_ball(x, threat.p, threat.radius, generator)
            start = x + (threat.radius * dual_direction(drawn, threat.p) if self.corners else drawn)
        if self.far:
            far = resized(threat, 3 * threat.radius)
            start = attack_ascent(classifier, x, y, far, steps=steps // 2, loss=self.loss, start=start).best
            steps -= steps // 2
        return attack_ascent(classifier, x, y, threat, steps=steps, loss=self.loss, start=start)
