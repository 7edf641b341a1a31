"""Which samples withstand: PGD while rules are being tuned, the full evaluation for a claim."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holomorph._utils.progress import track
from holomorph._utils.seeding import generator
from holomorph.calculus.ascent import maximise
from holomorph.calculus.measures import SampleLoss
from holomorph.contract.model import evaluating
from holomorph.records.comparison import UNION
from holomorph.threats import ThreatModel

#: What stands in the record.
ATTACK_NAMES = {
    "val": "PGD, 40 steps, 2 restarts: for tuning, not a claim",
    "test": "the full evaluation (AutoAttack, FMN)",
}


@dataclass(frozen=True)
class Withstood:
    """By quantity (clean, every threat, union), True where a sample is right; and the checks that failed."""

    right: dict[str, Tensor]
    failed_checks: tuple[str, ...] = ()


def tuning(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threats: Sequence[ThreatModel],
    *,
    steps: int = 40,
    restarts: int = 2,
    batch_size: int = 250,
) -> Withstood:
    """Attack by PGD on the cross-entropy: quick, and an upper bound of the robust accuracy.

    >>> model = nn.Linear(2, 2)
    >>> model.weight.data, model.bias.data = torch.eye(2), torch.zeros(2)
    >>> x, y = torch.tensor([[0.9, 0.1], [0.52, 0.48]]), torch.tensor([0, 0])
    >>> tuning(model, x, y, [ThreatModel("inf", 0.1)]).right["inf:0.1"]
    tensor([ True, False])
    """
    with evaluating(model):
        with torch.no_grad():
            clean = torch.cat([model(part).argmax(1) for part in torch.split(x, batch_size)]) == y
        right = {"clean": clean}
        for threat in threats:
            right[str(threat)] = clean.clone()
            alive = clean.nonzero()[:, 0]
            for restart in range(restarts):
                if len(alive) == 0:
                    break
                draws = generator(restart, f"pgd/{threat}")
                for rows in track(torch.split(alive, batch_size), f"PGD, {threat}"):
                    labels = y[rows]
                    moved = maximise(_loss(model, labels), x[rows], threat, draws, steps=steps)
                    with torch.no_grad():
                        right[str(threat)][rows] = model(moved).argmax(1) == labels
                alive = right[str(threat)].nonzero()[:, 0]
    return Withstood(_with_union(right))


def full(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threats: Sequence[ThreatModel],
    *,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    **settings: Any,
) -> Withstood:
    """Evaluate as :func:`holomorph.evaluate` does, which takes the further settings: what a claim rests on."""
    from holomorph.evaluation.evaluate import evaluate

    record = evaluate(model, x, y, threats, seed=seed, out=out, resume=True, **settings)
    right = {"clean": torch.tensor(record.predictions) == torch.tensor(record.labels)}
    for result in record.threats:
        right[str(result.threat)] = torch.tensor([name is None for name in result.broken_by])
    return Withstood(_with_union(right), tuple(check.name for check in record.failed))


def _loss(model: nn.Module, y: Tensor) -> SampleLoss:
    return lambda z: cross_entropy(model(z), y, reduction="none")


def _with_union(right: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**right, UNION: torch.stack(list(right.values())).all(0)}
