"""Radii from enclosures: cheap ones first, tighter ones for the samples that need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from holomorph.certification.branching import Branching
from holomorph.certification.methods import PROOFS
from holomorph.certification.search import largest_radius
from holomorph.contract import Differentiable
from holomorph.enclosures.lines import enclose_tightly
from holomorph.enclosures.program import Program
from holomorph.enclosures.region import Region
from holomorph.enclosures.rounding import unit_roundoff
from holomorph.enclosures.values import enclose
from holomorph.errors import ModelError
from holomorph.threats import ThreatModel
from holomorph.threats.features import Features

#: Up to how many activations ``auto`` bounds each by lines: the work grows with their number times a backward pass.
TIGHT = 10_000

#: Up to how many features ``auto`` cuts regions into parts.
_FEW = 4


class ProofRound(NamedTuple):
    """Enclosures, by lines as well or by intervals alone, and the proofs that are tried with them."""

    tight: bool
    proofs: tuple[str, ...]


PLANS: dict[str, tuple[ProofRound, ...]] = {
    "intervals": (ProofRound(False, ("intervals",)),),
    "slopes": (ProofRound(True, ("slopes",)),),
    "lines": (ProofRound(True, ("lines",)),),
    "branching": (ProofRound(False, ("slopes", "lines")),),
    "auto": (ProofRound(False, ("slopes", "lines")), ProofRound(True, ("slopes", "lines"))),
}


@dataclass(frozen=True)
class Bounds:
    """A network, the precision of its arithmetic, and the proofs to try."""

    program: Program
    unit: float
    rounds: tuple[ProofRound, ...]
    branching: Branching | None
    features: Features | None = None

    @classmethod
    def of(
        cls, model: Differentiable, x: Tensor, logits: Tensor, method: str, features: Features | None = None
    ) -> Bounds:
        """Read the network, and see that its outputs on some samples are those of its layers.

        Raises
        ------
        ModelError
            For a part that cannot be bounded, and for a network whose outputs are not those of its layers.
        """
        program, unit = Program.trace(model).with_logits(x), unit_roundoff(logits.dtype, x.device)
        rounds = PLANS[method]
        if method == "auto" and _activations(program, x[:1]) > TIGHT:
            rounds = rounds[:1]
        few = method == "branching" or (method == "auto" and x[0].numel() <= _FEW)
        found = cls(program, unit, rounds, Branching(program, unit) if few else None, features)
        found.check_same(x[:8], logits[:8])
        return found

    @torch.no_grad()
    def check_same(self, x: Tensor, logits: Tensor) -> None:
        """Refuse a network whose outputs are not inside the enclosures of its layers at these very points."""
        last = enclose(self.program, Region.point(x), self.unit).values[-1]
        if not bool(((logits >= last.low) & (logits <= last.high)).all()):
            raise ModelError(
                "The model's outputs are not those of its layers: a hook or other arithmetic stands between them. "
                "Write what it does as a layer, or use method='smoothing'."
            )

    def radii(
        self, x: Tensor, y: Tensor, right: Tensor, threat: ThreatModel, steps: int
    ) -> tuple[Tensor, list[str | None]]:
        """The largest radius found for each sample, and what proved it."""
        by: list[str | None] = [None] * len(x)

        def trial(rows: Tensor, radius: Tensor) -> Tensor:
            if self.features is None:
                region = Region.around(x[rows], threat, radius)
            else:
                region = Region.within(x[rows], threat, radius, self.features)
            names = self._prove(region, y[rows])
            for row, name in zip(rows.tolist(), names, strict=True):
                by[row] = name or by[row]
            return torch.tensor([name is not None for name in names], device=x.device)

        return largest_radius(trial, right, threat.radius, steps), by

    def _prove(self, region: Region, y: Tensor) -> list[str | None]:
        """The proof that succeeded for each sample, or None."""
        names: list[str | None] = [None] * len(y)
        for step in self.rounds:
            left = [i for i, name in enumerate(names) if name is None]
            if left:
                part = region.rows(torch.tensor(left, device=y.device))
                for i, name in zip(left, self._proved(step, part, y[left]), strict=True):
                    names[i] = name
        left = [i for i, name in enumerate(names) if name is None]
        if self.branching is not None and left:
            proved = self.branching.prove(region.rows(torch.tensor(left, device=y.device)), y[left])
            for i, good in zip(left, proved.tolist(), strict=True):
                names[i] = "branching" if good else None
        return names

    @torch.no_grad()
    def _proved(self, step: ProofRound, region: Region, y: Tensor) -> list[str | None]:
        found = (enclose_tightly if step.tight else enclose)(self.program, region, self.unit)
        names: list[str | None] = [None] * len(y)
        for proof in step.proofs:
            for i, good in enumerate(PROOFS[proof](found, y).tolist()):
                names[i] = names[i] or (proof if good else None)
        return names


@torch.no_grad()
def _activations(program: Program, x: Tensor) -> int:
    values = enclose(program, Region.point(x), 0.0).values
    return sum(values[source].low[0].numel() for _, source in program.curves())
