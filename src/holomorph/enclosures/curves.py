r"""Activations over an interval: their range, the range of their slope, and a band around a line that holds them.

The range of a smooth function over [l, u] is that of its values at l, at u and where its slope vanishes in between; the
same holds for the slope and the places where it turns. The band around the line through both ends,

$$|\varphi(z) - (\alpha z + \beta)| \le \rho, \qquad \alpha = \frac{\varphi(u) - \varphi(l)}{u - l},$$

comes from the values of $\varphi(z) - \alpha z$ at the ends of equal cells of width h: within a cell the function
strays from its chord by at most $h^2 \sup|\varphi''| / 8$, and that is added.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu, softplus

from holomorph.enclosures.rounding import DOUBLE, SUM

Function = Callable[[Tensor], Tensor]

#: Cells of an interval: the band is wider than it need be by a thousandth of the widest that this width allows.
_CELLS = 32


class Curve(ABC):
    """An activation.

    ``absolute`` is what torch's own function may be off by beside rounding.
    """

    absolute: float = 0.0

    @abstractmethod
    def value(self, z: Tensor) -> Tensor:
        """The activation itself."""

    @abstractmethod
    def range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The least and largest value over [low, high], before rounding."""

    @abstractmethod
    def slopes(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The least and largest slope over [low, high], rounded outward."""

    @abstractmethod
    def offsets(self, low: Tensor, high: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
        """The least and largest value minus ``line`` times z over [low, high], before rounding."""

    def tolerance(self, size: Tensor, unit: float) -> Tensor:
        """What torch's value may be off by for a modulus of z up to ``size``: eight roundings of size + 1."""
        return 8 * unit * (size + 1) + self.absolute

    def band(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Slope, offset and half width of the band around the line through both ends, without torch's tolerance."""
        width = high - low
        safe = torch.where(width > 0, width, torch.ones_like(width))
        line = torch.where(width > 0, (self.value(high) - self.value(low)) / safe, torch.zeros_like(width))
        least, most = self.offsets(low, high, line)
        size = torch.maximum(low.abs(), high.abs())
        rounding = 16 * DOUBLE * (1 + line.abs()) * (size + 1)
        return line, (least + most) / 2, (most - least) / 2 + rounding


@dataclass(frozen=True)
class Smooth(Curve):
    """A twice differentiable activation.

    Attributes
    ----------
    function, slope:
        The activation and its derivative.
    turns, bends:
        Where the activation, and where its slope, has an extremum.
    curvature:
        The supremum of the second derivative's modulus.
    """

    function: Function
    slope: Function
    turns: tuple[float, ...]
    bends: tuple[float, ...]
    curvature: float
    absolute: float = 0.0

    def value(self, z: Tensor) -> Tensor:
        """The activation itself."""
        return self.function(z)

    def range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """From both ends and the turning points in between."""
        return _extremes(self.function, low, high, self.turns)

    def slopes(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """From both ends and the turning points of the slope in between."""
        least, most = _extremes(self.slope, low, high, self.bends)
        return least - 64 * DOUBLE, most + 64 * DOUBLE

    def offsets(self, low: Tensor, high: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
        """From the values at the ends of equal cells and the curvature within them."""
        least = most = self.function(low) - line * low
        for step in range(1, _CELLS + 1):
            z = low + (high - low) * (step / _CELLS)
            offset = self.function(z) - line * z
            least, most = torch.minimum(least, offset), torch.maximum(most, offset)
        within = ((high - low) / _CELLS).square() * (self.curvature / 8 * SUM)
        return least - within, most + within


class Rectifier(Curve):
    """ReLU: two straight pieces, with every slope between 0 and 1 at the kink."""

    def value(self, z: Tensor) -> Tensor:
        """max(z, 0)."""
        return z.clamp_min(0)

    def range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Monotone."""
        return low.clamp_min(0), high.clamp_min(0)

    def slopes(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """0 below the kink, 1 above it."""
        return (low > 0).to(low), (high >= 0).to(high)

    def offsets(self, low: Tensor, high: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
        """Convex: largest at an end, least at the kink or, where that is outside, at an end."""
        left, right = low.clamp_min(0) - line * low, high.clamp_min(0) - line * high
        kink = torch.zeros_like(low).clamp(low, high)
        return torch.minimum(torch.minimum(left, right), kink.clamp_min(0) - line * kink), torch.maximum(left, right)


class Wave(Smooth):
    """sin, which turns infinitely often."""

    def range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """1 where a crest lies in the interval, -1 where a trough does."""
        return _wave(torch.sin, low, high, math.pi / 2)

    def slopes(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The same for cos."""
        least, most = _wave(torch.cos, low, high, 0.0)
        return least - 64 * DOUBLE, most + 64 * DOUBLE


def _wave(function: Function, low: Tensor, high: Tensor, crest: float) -> tuple[Tensor, Tensor]:
    """The range of a wave of period 2 pi with a crest at ``crest``; a place near an end counts as inside."""

    def holds(place: float) -> Tensor:
        first, last = (low - place) / (2 * math.pi), (high - place) / (2 * math.pi)
        slack = 8 * DOUBLE * (1 + torch.maximum(first.abs(), last.abs()))
        return torch.floor(last + slack) >= torch.ceil(first - slack)

    left, right = function(low), function(high)
    least, most = torch.minimum(left, right), torch.maximum(left, right)
    return least.masked_fill(holds(crest + math.pi), -1.0), most.masked_fill(holds(crest), 1.0)


def _extremes(function: Function, low: Tensor, high: Tensor, places: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """The least and largest of a function that is monotone between ``places``."""
    left, right = function(low), function(high)
    least, most = torch.minimum(left, right), torch.maximum(left, right)
    for place in places:
        inside = function(torch.full_like(low, place).clamp(low, high))
        least, most = torch.minimum(least, inside), torch.maximum(most, inside)
    return least, most


def _normal_density(z: Tensor) -> Tensor:
    return torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


def _gelu_slope(z: Tensor) -> Tensor:
    return torch.special.ndtr(z) + z * _normal_density(z)


def _silu_slope(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 + z * (1 - s))


def soft_plus(beta: float, threshold: float) -> Smooth:
    """Torch gives z itself beyond the threshold, where the function is larger by at most exp(-threshold)/beta.

    That counts twice: once in the model, once where its range is found with torch's function.
    """

    def function(z: Tensor) -> Tensor:
        return softplus(z, beta, threshold)

    def slope(z: Tensor) -> Tensor:
        return torch.sigmoid(beta * z)

    return Smooth(function, slope, (), (), beta / 4, absolute=2 * math.exp(-threshold) / beta)


#: Where the slope of GELU vanishes, and where the slopes of GELU and SiLU turn (z tanh(z/2) = 2 for SiLU).
_GELU_TURN, _SILU_TURN, _SILU_BEND = -0.7517915246935645, -1.2784645427610738, 2.3993572805154

GELU = Smooth(gelu, _gelu_slope, (_GELU_TURN,), (-math.sqrt(2), math.sqrt(2)), math.sqrt(2 / math.pi))
SILU = Smooth(silu, _silu_slope, (_SILU_TURN,), (-_SILU_BEND, _SILU_BEND), 0.5)
TANH = Smooth(torch.tanh, lambda z: 1 - torch.tanh(z).square(), (), (0.0,), 4 / (3 * math.sqrt(3)))
SIGMOID = Smooth(torch.sigmoid, lambda z: torch.sigmoid(z) * torch.sigmoid(-z), (), (0.0,), 1 / (6 * math.sqrt(3)))
SINE = Wave(torch.sin, torch.cos, (), (), 1.0)
RELU = Rectifier()
