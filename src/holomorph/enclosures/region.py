r"""The inputs that an attacker can choose: a ball of some norm around each sample, cut with a box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from holomorph.calculus.norms import per_sample
from holomorph.enclosures.rounding import DOUBLE, SUM, gamma
from holomorph.threats import ThreatModel

if TYPE_CHECKING:
    from holomorph.threats.features import Features


@dataclass(frozen=True)
class Region:
    r"""$\{x' : \|x' - x\|_p \le r,\; \mathrm{low} \le x' \le \mathrm{high}\}$, one a sample.

    Attributes
    ----------
    centre:
        x, (batch, ...).
    low, high:
        The walls, (batch, ...); those of the ball's own hull are already among them.
    p:
        1, 2 or infinity.
    radius:
        r, (batch,).
    unit:
        The length that counts as 1 along each feature, 0 where it is frozen; None for 1 everywhere.

    Examples
    --------
    >>> region = Region.around(torch.tensor([[0.5, 1.0]]), ThreatModel(2, 0.5), torch.tensor([0.25]))
    >>> low, high = region.range(torch.tensor([[[1.0, 0.0]]], dtype=torch.float64))
    >>> round(float(low), 6), round(float(high), 6)
    (0.25, 0.75)
    """

    centre: Tensor
    low: Tensor
    high: Tensor
    p: float
    radius: Tensor
    unit: Tensor | None = None

    @classmethod
    def within(cls, x: Tensor, threat: ThreatModel, radius: Tensor, features: Features) -> Region:
        """The same in units of each feature's own eps, between the features' walls.

        Whole numbers, categories and relations are left out: the region holds every row that keeps them, and more.
        """
        x, radius = x.detach().double(), radius.to(x.device).double()
        eps, low, high = (part.to(x.device) for part in (features.eps, features.low, features.high))
        way = features.rows.direction.reshape(eps.shape).to(x.device)
        extent = per_sample(radius, x) * eps
        ends = torch.full_like(x, math.inf)
        down = torch.where(way > 0, x, torch.nextafter(x - extent, -ends).maximum(low))
        up = torch.where(way < 0, x, torch.nextafter(x + extent, ends).minimum(high))
        down, up = (torch.where(features.free.to(x.device), part, x) for part in (down, up))
        return cls(x, torch.minimum(down, x), torch.maximum(up, x), threat.p, radius, eps)

    @classmethod
    def around(cls, x: Tensor, threat: ThreatModel, radius: Tensor, dtype: torch.dtype = torch.float64) -> Region:
        """The threat's norm and box around samples, with a radius of their own."""
        x, radius = x.detach().to(dtype), radius.to(x.device, dtype)
        extent = per_sample(radius, x)
        ends = torch.full_like(x, math.inf)
        low = torch.nextafter(x - extent, -ends).clamp_min(threat.box[0])
        high = torch.nextafter(x + extent, ends).clamp_max(threat.box[1])
        return cls(x, torch.minimum(low, x), torch.maximum(high, x), threat.p, radius)

    @classmethod
    def point(cls, x: Tensor) -> Region:
        """Samples themselves and nothing around them."""
        x = x.detach().double()
        return cls(x, x, x, math.inf, torch.zeros(len(x), dtype=x.dtype, device=x.device))

    def to(self, dtype: torch.dtype) -> Region:
        """The same in another precision, for training, where nothing is proved."""
        low, high, unit = self.low.to(dtype), self.high.to(dtype), None if self.unit is None else self.unit.to(dtype)
        return Region(self.centre.to(dtype), low, high, self.p, self.radius.to(dtype), unit)

    def rows(self, chosen: Tensor) -> Region:
        """Those of some samples, by number or by mask."""
        return Region(self.centre[chosen], self.low[chosen], self.high[chosen], self.p, self.radius[chosen], self.unit)

    @property
    def is_box(self) -> bool:
        """Whether the walls alone bound it."""
        return self.p == math.inf

    def range(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The least and largest $<a, x'>$ for each row a of (rows, batch, ...), rounded outward: (rows, batch)."""
        a, low, high = rows.flatten(2), self.low.flatten(1), self.high.flatten(1)
        up, down = a.clamp_min(0), a.clamp_max(0)
        off = gamma(a.shape[2] + 4, DOUBLE) * (a.abs() * torch.maximum(low.abs(), high.abs())).sum(2) * SUM
        lower, upper = (up * low + down * high).sum(2) - off, (up * high + down * low).sum(2) + off
        if self.is_box:
            return lower, upper
        middle, extent = (a * self.centre.flatten(1)).sum(2), self.radius * self.dual(rows)
        return torch.maximum(lower, middle - extent - off), torch.minimum(upper, middle + extent + off)

    def fall(self, low: Tensor, high: Tensor) -> Tensor:
        r"""How far a function can fall from the centre if its gradient lies between ``low`` and ``high`` throughout.

        $$\sum_j \max(-g^{\mathrm{low}}_j (\mathrm{high}_j - x_j),\; g^{\mathrm{high}}_j (x_j - \mathrm{low}_j),\; 0)
        \quad\text{and}\quad r\,\|\max(-g^{\mathrm{low}}, g^{\mathrm{high}}, 0)\|_q,$$

        whichever is less: the dual norm of the worst gradient times the radius, or less where the box is in the way.
        ``low`` and ``high`` are (rows, batch, ...), the result is (rows, batch).
        """
        rise, descent = (-low).clamp_min(0), high.clamp_min(0)
        walled = torch.maximum(rise * (self.high - self.centre), descent * (self.centre - self.low))
        by_walls = walled.flatten(2).sum(2) * SUM
        if self.is_box:
            return by_walls
        return torch.minimum(by_walls, self.radius * self.dual(torch.maximum(rise, descent)))

    def dual(self, rows: Tensor) -> Tensor:
        """The dual norm of each row, in units where there are any, rounded up: (rows, batch)."""
        rows = rows if self.unit is None else rows * self.unit
        order = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[self.p]
        return torch.linalg.vector_norm(rows.flatten(2), ord=order, dim=2) * SUM
