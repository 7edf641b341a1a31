"""What the attacks found on one model: the bridge between attacking, checking and recording."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor

from holomorph.contract.guest import Subject
from holomorph.evaluation.inspection import Traits
from holomorph.evaluation.plan import Effort
from holomorph.evaluation.results import Ledger
from holomorph.evaluation.runner import Runner
from holomorph.records.evaluation import AttackResult


@dataclass
class Evaluated:
    """What the attacks found on one model, before it becomes a record."""

    subject: Subject
    traits: Traits
    x: Tensor
    y: Tensor
    answers: Tensor
    ledgers: list[Ledger]
    runner: Runner
    before: str
    effort: Effort = "full"
    attacks: list[AttackResult] = field(default_factory=list)

    def share(self) -> None:
        """Try what was found under each threat under the others: accuracy then never rises with eps."""
        for ledger, other in itertools.permutations(self.ledgers, 2):
            ledger.learn(other)

    @property
    def quick(self) -> bool:
        """Whether the attacks were cheap ones on few samples."""
        return self.effort == "quick"

    @property
    def robust(self) -> Tensor:
        """Samples that no attack broke under any threat."""
        return torch.stack([ledger.robust for ledger in self.ledgers]).all(0)
