"""What attacks found: every proposal is projected, measured and run through the model before it counts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from holomorph.attacks.base import Access, Effort
from holomorph.calculus.norms import norm, per_sample
from holomorph.contract.classifier import Classifier
from holomorph.evaluation.inspection import Inspection
from holomorph.evaluation.runner import Runner
from holomorph.records.evaluation import AttackResult
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import clip, into, settle
from holomorph.threats.grid import Grid

#: Rounding allowed when a distance is compared with eps: single precision at the scale of the box.
SLACK = 1e-5


class Results:
    """The account of one threat: which attack broke which sample, and the nearest adversarial input found for each.

    No attack is believed: a proposal that is not finite is dropped, one outside the box is clipped, one outside
    the radius is tried as it is (for the smallest perturbation) and projected (for the robust accuracy). Where the
    data lie on a grid, the grid's point near each proposal is tried too.
    """

    def __init__(
        self,
        classifier: Classifier,
        x: Tensor,
        y: Tensor,
        threat: ThreatModel,
        predictions: Tensor,
        grid: Grid | None = None,
    ) -> None:
        self.classifier = classifier
        self.x = x
        self.y = y
        self.threat = threat
        self.grid = grid
        wrong = predictions != y
        self.broken_by: list[str | None] = ["clean" if w else None for w in wrong.tolist()]
        self.found_by: list[str | None] = list(self.broken_by)
        self.found_with: list[Access | None] = [None] * len(y)
        self.smallest = torch.where(wrong, torch.zeros_like(x.flatten(1)[:, 0]), torch.inf)
        self.nearest = x.clone()
        self.white = torch.zeros_like(wrong)
        self.black = torch.zeros_like(wrong)
        self.on_grid_only = torch.zeros_like(wrong)

    @property
    def robust(self) -> Tensor:
        """The samples no attack has broken; shape (samples,)."""
        return torch.tensor([name is None for name in self.broken_by]).to(self.x.device)

    def rows(self, *, everyone: bool = False) -> Tensor:
        """Indices of the samples to attack: the survivors, or all that are right when nothing perturbs them."""
        chosen = [i for i, name in enumerate(self.broken_by) if (name != "clean" if everyone else name is None)]
        return torch.tensor(chosen, dtype=torch.long, device=self.x.device)

    def submit(self, name: str | Sequence[str], access: Access, rows: Tensor, proposals: Tensor) -> int:
        """Account for one proposal a row, all by one attack or by one each; return how many were newly broken."""
        if len(rows) == 0:
            return 0
        x = self.x[rows]
        finite = proposals.flatten(1).isfinite().all(1)
        proposals = clip(x, torch.where(per_sample(finite, x), proposals, x), self.threat)
        inside = settle(x, into(x, proposals, self.threat), self.threat, self.threat.radius)
        proposals = settle(x, proposals, self.threat)
        before, names = self._count(), [name] * len(rows) if isinstance(name, str) else name
        for points in (inside, proposals):
            self._settle(names, access, rows, points)
        if self.grid is not None:
            unbroken = self.robust[rows]
            near = settle(x, self.grid.inside(x, inside, self.threat), self.threat, self.threat.radius)
            self._settle(names, access, rows, near)
            self.on_grid_only[rows] |= unbroken & ~self.robust[rows]
        return before - self._count()

    def _settle(self, names: Sequence[str], access: Access, rows: Tensor, points: Tensor) -> None:
        distance = norm(points - self.x[rows], self.threat.p)
        wrong = self._misclassified(points, self.y[rows])
        within = wrong & (distance <= self.threat.radius * (1 + SLACK))
        seen = self.white if access == "white box" else self.black
        seen[rows] |= within
        nearer = wrong & (distance < self.smallest[rows])
        self.nearest[rows[nearer]] = points[nearer]
        self.smallest[rows[nearer]] = distance[nearer]
        for row, name, better, broke in zip(rows.tolist(), names, nearer.tolist(), within.tolist(), strict=True):
            if better:
                self.found_by[row], self.found_with[row] = name, access
            if broke and self.broken_by[row] is None:
                self.broken_by[row] = name

    def _misclassified(self, points: Tensor, y: Tensor) -> Tensor:
        """Wrong by more than the forward pass's own rounding at the point."""
        wrong = self.classifier.predictions(points) != y
        if bool(wrong.any()):
            wrong[wrong.clone()] = self.classifier.margins(points[wrong], y[wrong]) < 0
        return wrong

    def learn(self, other: Results) -> None:
        """Try what was found under another threat, under its attack's name and with that attack's access."""
        for access in ("white box", "black box"):
            rows = [row for row, how in enumerate(other.found_with) if how == access]
            names = [_elsewhere(str(other.found_by[row]), other.threat) for row in rows]
            self.submit(names, access, torch.tensor(rows, dtype=torch.long, device=self.x.device), other.nearest[rows])

    def extend(self, other: Results) -> None:
        """Add the account of further samples under the same threat."""
        for name in ("x", "y", "smallest", "nearest", "white", "black", "on_grid_only"):
            setattr(self, name, torch.cat([getattr(self, name), getattr(other, name)]))
        for name in ("broken_by", "found_by", "found_with"):
            getattr(self, name).extend(getattr(other, name))

    def _count(self) -> int:
        return self.broken_by.count(None)

    @property
    def accuracy(self) -> float:
        """Share of all samples not broken so far."""
        return self._count() / len(self.broken_by)


def _elsewhere(name: str, threat: ThreatModel) -> str:
    """An attack's name with the threat under which it was run, unless the name holds one already."""
    return name if " at " in name else f"{name} at {threat}"


@dataclass
class Outcome:
    """What the attacks found on one model, before it becomes a record.

    ``agreement`` says how well gradients agree with actual changes, one value for each threat. ``changed`` is the share
    of queried points at which the model gives other logits when it is asked again from its first state. ``jump`` says
    how much more the logits change off the data's grid than along it. ``rows`` are the numbers of the samples.
    """

    classifier: Classifier
    inspection: Inspection
    x: Tensor
    y: Tensor
    predictions: Tensor
    per_threat: list[Results]
    runner: Runner
    before: str
    effort: Effort = "full"
    pace: float = 1.0
    agreement: list[float | None] = field(default_factory=list)
    changed: float | None = None
    jump: float | None = None
    rows: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    attacks: list[AttackResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = self.rows if len(self.rows) else torch.arange(len(self.y))

    def share(self) -> None:
        """Try what was found under each threat under the others: accuracy then never rises with eps."""
        for results, other in itertools.permutations(self.per_threat, 2):
            results.learn(other)

    def joined(self, other: Outcome) -> Outcome:
        """The outcomes on two disjoint sets of samples as one; attacks of the same name and settings are added up."""
        weights = len(self.y), len(other.y)
        for mine, theirs in zip(self.per_threat, other.per_threat, strict=True):
            mine.extend(theirs)
        self.x, self.y = self.per_threat[0].x, self.per_threat[0].y
        self.predictions = torch.cat([self.predictions, other.predictions])
        self.rows = torch.cat([self.rows, other.rows])
        self.agreement = [_worse(a, b) for a, b in zip(self.agreement, other.agreement, strict=True)]
        self.changed = max((c for c in (self.changed, other.changed) if c is not None), default=None)
        self.jump = max((j for j in (self.jump, other.jump) if j is not None), default=None)
        self.attacks = added(self.attacks, other.attacks, weights)
        return self

    @property
    def quick(self) -> bool:
        """Whether the attacks were cheap ones on few samples."""
        return self.effort == "quick"

    @property
    def robust(self) -> Tensor:
        """Samples that no attack broke under any threat."""
        return torch.stack([results.robust for results in self.per_threat]).all(0)


def _worse(a: float | None, b: float | None) -> float | None:
    known = [value for value in (a, b) if value is not None]
    return min(known, default=None)


def added(first: list[AttackResult], second: list[AttackResult], samples: tuple[int, int]) -> list[AttackResult]:
    """The results of the same attacks on two sets of samples, added up; accuracies are weighted by their sizes."""

    def key(result: AttackResult) -> tuple[object, ...]:
        return result.threat, result.name, result.round, str(sorted(result.settings.items()))

    theirs = {key(result): result for result in second}
    both = [
        mine.model_copy(
            update={
                "tried": mine.tried + other.tried,
                "broken": mine.broken + other.broken,
                "seconds": mine.seconds + other.seconds,
                "accuracy": (samples[0] * mine.accuracy + samples[1] * other.accuracy) / sum(samples),
            }
        )
        for mine in first
        if (other := theirs.get(key(mine))) is not None
    ]
    shared = {key(result) for result in both}
    return both + [result for result in [*first, *second] if key(result) not in shared]
