"""The grid on which data lie, such as 8-bit grey values or whole numbers, and its points near others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from holomorph._utils.devices import has_doubles, in_double
from holomorph.threats.constraints import into
from holomorph.threats.model import ThreatModel

#: Values a unit that data are known to have: whole numbers, tenths, digits' 16 levels, hundredths, 8-bit, 16-bit.
_LEVELS = (1, 2, 4, 8, 10, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 1000)


@dataclass(frozen=True, eq=False)
class Grid:
    r"""The points $o + s k$ with whole numbers k, feature by feature; where s is 0 the values are continuous.

    Shapes: that of a sample, or none where one origin and step serve for all.
    """

    origin: Tensor
    step: Tensor

    def to(self, device: torch.device) -> Grid:
        """The same grid on a device, if that has double precision: every point is then rounded without a copy."""
        return Grid(self.origin.to(device), self.step.to(device)) if has_doubles(device) else self

    def snap(self, z: Tensor) -> Tensor:
        """The nearest point of the grid, computed in double precision, so that k/255 is what k/255 is elsewhere."""
        exact = in_double(z)
        origin, step = self.origin.to(exact.device), self.step.to(exact.device)
        k = ((exact - origin) / torch.where(step > 0, step, 1.0)).round()
        return torch.where(step > 0, origin + k * step, exact).to(z)

    def inside(self, x: Tensor, z: Tensor, threat: ThreatModel) -> Tensor:
        """The grid's point near z inside the threat around x, itself on the grid: rounded, or where that leaves the
        ball rounded towards x.
        """
        near = self.snap(z)
        d = in_double(z - x)
        step = self.step.to(d.device)
        d = d / torch.where(step > 0, step, 1.0)
        towards = torch.where(step > 0, in_double(x) + d.sign() * (d.abs() + 1e-3).floor() * step, in_double(z))
        left = (into(x, near, threat) - near).abs().flatten(1).amax(1) > 1e-4 * _finest(step)
        return self.snap(torch.where(left.reshape(-1, *(1,) * (z.ndim - 1)), towards.to(z), near))


def _finest(step: Tensor) -> float:
    return float(step[step > 0].min())


def grid_of(x: Tensor) -> Grid | None:
    """The coarsest known grid on which all samples lie; None for continuous data.

    >>> grid_of(torch.tensor([[0.0, 7 / 255, 1.0]])).step
    tensor(0.0039, dtype=torch.float64)
    >>> grid_of(torch.tensor([[0.1234, 0.5]])) is None
    True
    """
    flat = in_double(x)
    for levels in _LEVELS:
        scaled = flat * levels
        if bool(((scaled - scaled.round()).abs() <= 1e-6 * scaled.abs().clamp_min(1)).all()):
            return Grid(torch.zeros((), dtype=torch.float64), torch.tensor(1 / levels, dtype=torch.float64))
    return None


def grid_of_columns(x: Tensor, origin: Tensor, unit: Tensor) -> Grid | None:
    """The grid of a table in units (x - origin) / unit: the features that hold whole numbers, or tenths, and so on."""
    raw = origin.cpu() + x.cpu().double() * unit.cpu()
    step = torch.zeros_like(raw[0])
    for levels in reversed(_LEVELS):
        scaled = raw * levels
        fits = ((scaled - scaled.round()).abs() <= 1e-6 * scaled.abs().clamp_min(1)).all(0)
        step = torch.where(fits, 1 / levels, step)
    if not bool((step > 0).any()):
        return None
    return Grid(-origin.cpu() / unit.cpu(), step / unit.cpu())
