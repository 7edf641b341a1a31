r"""Branch and bound over the inputs: a region that cannot be proved is cut in two, until its parts can.

The part of a box is bounded on its own, and parts that do not meet the ball are left out. Each cut goes through the
coordinate that weighs most, its width times the steepest slope along it. With n features the number of parts grows like
a power n of the refinement, so this is for few features.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from holomorph.certification.methods import by_lines, by_slopes, margin_rows
from holomorph.enclosures.program import Program
from holomorph.enclosures.region import Region
from holomorph.enclosures.slopes import Slopes, slopes
from holomorph.enclosures.values import Enclosures, enclose

#: Parts that are bounded at once.
_TOGETHER = 256


@dataclass(frozen=True)
class Branching:
    """The search for one sample at a time.

    Attributes
    ----------
    program, unit:
        The network, and the unit roundoff of its arithmetic.
    parts:
        How many parts may be looked at for a sample before it is given up.
    """

    program: Program
    unit: float
    parts: int = 1000

    @torch.no_grad()
    def prove(self, region: Region, y: Tensor) -> Tensor:
        """Whether each sample's answer stands over its whole region; (batch,)."""
        rows = [self._one(region.rows(torch.tensor([i])), y[i : i + 1]) for i in range(len(y))]
        return torch.tensor(rows, dtype=torch.bool, device=y.device)

    def _one(self, whole: Region, y: Tensor) -> bool:
        low, high, seen = whole.low, whole.high, 0
        while len(low):
            seen += len(low)
            if seen > self.parts:
                return False
            left = [
                self._unproved(whole, *ends, y)
                for ends in zip(torch.split(low, _TOGETHER), torch.split(high, _TOGETHER), strict=True)
            ]
            if any(part is None for part in left):
                return False
            low, high = (torch.cat(ends) for ends in zip(*(part for part in left if part is not None), strict=True))
        return True

    def _unproved(self, whole: Region, low: Tensor, high: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
        """Halves of the parts that are not proved; None where a point inside the ball is classified wrongly."""
        inside = _distance(whole, low, high) <= whole.radius * (1 + 1e-12)
        low, high = low[inside], high[inside]
        if not len(low):
            return low, high
        middle = ((low + high) / 2).clamp(low, high)
        part = Region(middle, low, high, math.inf, whole.radius.expand(len(low)))
        labels = y.expand(len(low))
        found = enclose(self.program, part, self.unit)
        steepest = slopes(found, margin_rows(found, labels))
        if any(self._wrong(whole, point, y) for point in (middle, _corner(found, steepest, labels))):
            return None
        left = ~(by_slopes(found, labels) | by_lines(found, labels))
        return _halves(part.rows(left), (steepest.middle.abs() + steepest.half).amax(0)[left])

    def _wrong(self, whole: Region, points: Tensor, y: Tensor) -> bool:
        """Whether one of the points lies in the ball and is classified wrongly."""
        wrong = self.program.run(points).argmax(1) != y
        return bool((wrong & (_distance(whole, points, points) <= whole.radius)).any())


def _corner(found: Enclosures, steepest: Slopes, labels: Tensor) -> Tensor:
    """Of each part, the corner to which its smallest margin falls most steeply."""
    logits = found.program.run(found.region.centre)
    margins = logits.gather(1, labels[:, None]) - logits
    runner_up = margins.scatter(1, labels[:, None], math.inf).argmin(1)
    slope = steepest.middle[runner_up, torch.arange(len(runner_up), device=runner_up.device)]
    return torch.where(slope > 0, found.region.low, found.region.high)


def _halves(parts: Region, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Both halves of each part, cut through the coordinate of the largest width times slope."""
    low, high, middle = parts.low, parts.high, parts.centre
    weight = (slope * (high - low)).flatten(1)
    cut = torch.zeros_like(weight, dtype=torch.bool).scatter(1, weight.argmax(1, keepdim=True), True).reshape(low.shape)
    return torch.cat([low, torch.where(cut, middle, low)]), torch.cat([torch.where(cut, middle, high), high])


def _distance(whole: Region, low: Tensor, high: Tensor) -> Tensor:
    """How far the nearest point of each box is from the ball's centre, rounded down a little: (boxes,)."""
    nearest = whole.centre.clamp(low, high) - whole.centre
    if whole.unit is not None:
        nearest = torch.where(whole.unit > 0, nearest / whole.unit.clamp_min(1e-300), 0.0)
    return torch.linalg.vector_norm(nearest.flatten(1), ord=whole.p, dim=1) * (1 - 1e-12)
