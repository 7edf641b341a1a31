r"""Intervals that hold every value a network computes, over a region of inputs, rounding included.

With c and r the middle and the half width of what goes in, a linear map gives $Wc + b \pm |W|r$. What is enclosed are
the numbers that the model computes, not those it stands for: every step's result may be off by a tolerance, and the
interval is widened by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from holomorph.enclosures.curves import Curve
from holomorph.enclosures.maps import LinearMap
from holomorph.enclosures.program import Program, ProgramStep
from holomorph.enclosures.region import Region
from holomorph.enclosures.rounding import DOUBLE, SUM, TINY, gamma


class Band(NamedTuple):
    """A line, slope times z plus offset, and the half width of the band around it that holds an activation."""

    slope: Tensor
    offset: Tensor
    half: Tensor


@dataclass(frozen=True)
class Values:
    """Where a value lies, (batch, ...), and by how much its computation may have strayed.

    ``tolerance`` bounds the difference of the model's own result from the exact one of the step, both from the values
    that the model had computed before, and what the enclosures' own arithmetic adds.
    """

    low: Tensor
    high: Tensor
    tolerance: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """That of a sample."""
        return tuple(self.low.shape[1:])

    @property
    def size(self) -> Tensor:
        """A bound of the modulus."""
        return torch.maximum(self.low.abs(), self.high.abs())

    def within(self, low: Tensor, high: Tensor) -> Values:
        """The part of the interval between other bounds that are known."""
        return Values(torch.maximum(self.low, low), torch.minimum(self.high, high), self.tolerance)


@dataclass
class Enclosures:
    """The values of a program over a region, in the order of its steps, as far as they have been found.

    ``unit`` is the unit roundoff of the model's arithmetic.
    """

    program: Program
    region: Region
    unit: float
    values: list[Values] = field(default_factory=list)
    bands: dict[int, Band] = field(default_factory=dict)

    def __post_init__(self) -> None:
        low, high = self.region.low, self.region.high
        self.values.append(Values(low, high, torch.zeros_like(low)))

    def advance(self) -> None:
        """Enclose the next value from those before it."""
        step = self.program.steps[len(self.values) - 1]
        self.values.append(_enclose(step, [self.values[source] for source in step.sources], self.unit))

    def band(self, number: int, curve: Curve) -> Band:
        """The band around the activation that is the step of this number, torch's tolerance included."""
        if number not in self.bands:
            before = self.values[self.program.steps[number].sources[0]]
            slope, offset, half = curve.band(before.low, before.high)
            self.bands[number] = Band(slope, offset, half + self.values[number + 1].tolerance)
        return self.bands[number]


def enclose(program: Program, region: Region, unit: float) -> Enclosures:
    """All values by intervals alone, each from the ones before it.

    Parameters
    ----------
    program, region:
        The network, and its inputs.
    unit:
        The unit roundoff of the model's arithmetic.
    """
    found = Enclosures(program, region, unit)
    for _ in program.steps:
        found.advance()
    return found


def _enclose(step: ProgramStep, sources: list[Values], unit: float) -> Values:
    first = sources[0]
    if isinstance(step.operation, LinearMap):
        return _linear(step.operation, first, unit)
    if isinstance(step.operation, Curve):
        low, high = step.operation.range(first.low, first.high)
        tolerance = step.operation.tolerance(first.size, unit + 4 * DOUBLE)
    else:
        second = sources[1]
        low, high = first.low + second.low, first.high + second.high
        tolerance = (unit + 4 * DOUBLE) * (first.size + second.size)
    return Values(low - tolerance, high + tolerance, tolerance)


def _linear(operation: LinearMap, before: Values, unit: float) -> Values:
    terms = operation.terms(before.shape)
    if terms == 0:  # numbers that only move
        low, high = operation(before.low), operation(before.high)
        return Values(low, high, 4 * DOUBLE * torch.maximum(low.abs(), high.abs()))
    moduli = operation.absolute()
    middle, half = operation((before.low + before.high) / 2), moduli.apply((before.high - before.low) / 2)
    size = moduli.apply(before.size) + operation.size_of_bias(middle)
    tolerance = (gamma(terms, unit) + 4 * gamma(terms, DOUBLE)) * size * SUM + TINY
    return Values(middle - half - tolerance, middle + half + tolerance, tolerance)
