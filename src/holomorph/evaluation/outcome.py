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
    """What the attacks found on one model, before it becomes a record."""

    classifier: Classifier
    inspection: Inspection
    x: Tensor
    y: Tensor
    predictions: Tensor
    per_threat: list[Results]
    runner: Runner
    before: str
    effort: Effort = "full"
    attacks: list[AttackResult] = field(default_factory=list)

    def share(self) -> None:
        """Try what was found under each threat under the others: accuracy then never rises with eps."""
        for results, other in itertools.permutations(self.per_threat, 2):
            results.learn(other)

    @property
    def quick(self) -> bool:
        """Whether the attacks were cheap ones on few samples."""
        return self.effort == "quick"

    @property
    def robust(self) -> Tensor:
        """Samples that no attack broke under any threat."""
        return torch.stack([results.robust for results in self.per_threat]).all(0)
