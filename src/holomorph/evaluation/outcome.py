"""What the attacks found on one model: the bridge between attacking, checking and recording."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor

from holomorph.attacks.base import Effort
from holomorph.contract.classifier import Classifier
from holomorph.evaluation.inspection import Inspection
from holomorph.evaluation.results import Results
from holomorph.evaluation.runner import Runner
from holomorph.records.evaluation import AttackResult


@dataclass
class Outcome:
    """What the attacks found on one model, before it becomes a record.

    ``agreement`` is that of the gradient with differences under each threat, ``changed`` the share of queried points
    at which the model says something else when it is asked again from its first state, ``jump`` how much more it
    changes off the data's grid than along it; ``rows`` are the numbers of the samples among those given.
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
