r"""What a row of a table must be: whole numbers, one-hot categories, linear relations; and the nearest such row.

A row is found from any proposal by steps that all move it towards the row that it started from, or to another category.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from holomorph.errors import DataError

#: Relative rounding that is allowed in a relation and in a whole number.
_SLACK = 1e-6


@dataclass(frozen=True, eq=False)
class Rows:
    r"""Constraints on flattened rows (batch, n), in the features' own units.

    Attributes
    ----------
    low, high:
        Walls, (n,).
    direction:
        (n,): 1 where a feature may only rise, -1 where it may only fall, 0 where it may do both.
    free:
        (n,) bool, the features that may move at all.
    whole:
        (n,) bool, those that are whole numbers.
    groups:
        (n,), the number of the one-hot group that a feature belongs to, 0 for none.
    matrix, bound, equal:
        Relations: matrix x <= bound row by row, or = bound where ``equal``; (relations, n), (relations,), (relations,).
    """

    low: Tensor
    high: Tensor
    direction: Tensor
    free: Tensor
    whole: Tensor
    groups: Tensor
    matrix: Tensor
    bound: Tensor
    equal: Tensor

    def on(self, device: torch.device) -> Rows:
        """The same on a device."""
        return Rows(**{name: value.to(device) for name, value in vars(self).items()})

    def holds(self, before: Tensor, x: Tensor) -> Tensor:
        """Which rows x are possible when they come from ``before``; (batch,) bool."""
        slack = _SLACK * (1 + torch.maximum(x.abs(), before.abs()))
        moved = x - before
        good = (x >= self.low - slack) & (x <= self.high + slack) & (self.free | (moved.abs() <= slack))
        good &= (self.direction * moved >= -slack) & (~self.whole | ((x - x.round()).abs() <= slack))
        return good.all(1) & self._one_hot(x).all(1) & self._related(x)

    def check(self, x: Tensor) -> None:
        """Refuse data whose own rows are not possible.

        Raises
        ------
        DataError
            With the number of the first such row, and what is wrong with it.
        """
        slack = _SLACK * (1 + x.abs())
        broken = {
            "holds a fraction in a feature of whole numbers": (self.whole & ((x - x.round()).abs() > slack)).any(1),
            "has not exactly one 1 in a one-hot group": ~self._one_hot(x).all(1),
            "breaks a relation": ~self._related(x),
        }
        for what, rows in broken.items():
            if rows.any():
                raise DataError(f"Row {int(rows.nonzero()[0])} {what}. Mend the data, or the constraints.")

    def nearest(self, before: Tensor, x: Tensor, unit: Tensor, p: float, radius: float) -> Tensor:
        r"""A possible row near each proposal x, at most ``radius`` units away; ``before`` where none is found.

        Categories become the largest of their group, whole numbers are rounded towards ``before``; the rest keeps the
        equalities by the smallest correction, and goes as far as walls, relations and the ball allow.
        """
        d = torch.where(self.free, x - before, 0.0)
        grouped, discrete = self.groups > 0, self.whole | (self.groups > 0)
        jump = torch.where(grouped, self._categories(before, before + d) - before, 0.0)
        jump = torch.where(self.whole & ~grouped, (d * (1 + _SLACK)).trunc(), jump)
        smooth = self._balanced(torch.where(discrete, 0.0, d), jump, ~discrete & self.free)
        found = before
        for candidate, rest in ((jump, smooth), (torch.zeros_like(jump), self._balanced(smooth, 0 * jump, ~discrete))):
            start = before + candidate
            share = torch.minimum(self._room(start, rest), _within(candidate, rest, unit, p, radius))
            row = start + share[:, None] * rest
            size = torch.linalg.vector_norm((row - before) / unit, ord=p, dim=1)
            better = self.holds(before, row) & (size <= radius * (1 + _SLACK)) & (found == before).all(1)
            found = torch.where(better[:, None], row, found)
        return found

    def _one_hot(self, x: Tensor) -> Tensor:
        """For each group, whether one entry is 1 and the others are 0; (batch, groups)."""
        good = [torch.ones_like(x[:, :1], dtype=torch.bool)]
        for group in self._members():
            part = x[:, group]
            off = torch.minimum(part.abs(), (part - 1).abs()).amax(1) + (part.sum(1) - 1).abs()
            good.append((off <= _SLACK)[:, None])
        return torch.cat(good, 1)

    def _members(self) -> list[Tensor]:
        return [self.groups == number for number in sorted(set(self.groups.tolist())) if number > 0]

    def _related(self, x: Tensor) -> Tensor:
        over = x @ self.matrix.mT - self.bound
        slack = _SLACK * (1 + x.abs() @ self.matrix.abs().mT + self.bound.abs())
        return torch.where(self.equal, over.abs() <= slack, over <= slack).all(1)

    def _categories(self, before: Tensor, x: Tensor) -> Tensor:
        """The largest entry of each group as its 1; groups that may not move as a whole stay."""
        found = before.clone()
        for group in self._members():
            if self.free[group].all():
                best = x[:, group].argmax(1)
                found[:, group] = torch.nn.functional.one_hot(best, int(group.sum())).to(x)
        return found

    def _balanced(self, d: Tensor, jump: Tensor, where: Tensor) -> Tensor:
        """The direction, corrected where it may be, along which no equality changes."""
        if not self.equal.any():
            return d
        rows = torch.where(where, self.matrix[self.equal], 0.0)
        return d - (d + jump) @ self.matrix[self.equal].mT @ torch.linalg.pinv(rows).mT

    def _room(self, start: Tensor, d: Tensor) -> Tensor:
        """The largest share of d, up to 1, that walls, directions and inequalities allow from ``start``."""
        rate = torch.cat([d, -d, d @ self.matrix.mT], 1)
        left = torch.cat([self.high - start, start - self.low, self.bound - start @ self.matrix.mT], 1)
        moving = rate > 0
        moving[:, 2 * d.shape[1] :] &= ~self.equal
        share = torch.where(moving, left / torch.where(moving, rate, 1.0), torch.inf)
        against = (self.direction * d < 0).any(1)
        return share.amin(1).clamp(0, 1).masked_fill(against, 0.0)


def _within(jump: Tensor, rest: Tensor, unit: Tensor, p: float, radius: float) -> Tensor:
    """A share of ``rest`` with which jump + share * rest is no larger than the radius, by the triangle inequality."""
    used, more = (torch.linalg.vector_norm(part / unit, ord=p, dim=1) for part in (jump, rest))
    if p == torch.inf:  # coordinates that jump and those that move smoothly are different ones
        return (radius / more.clamp_min(1e-300)).clamp(max=1.0)
    return ((radius - used).clamp_min(0) / more.clamp_min(1e-300)).clamp(max=1.0)
