r"""Enclosures of a network's slope over a region: an upper bound of the gradient's dual norm, everywhere in it.

The values of an activation at two points differ by a slope within its range times the difference of the points. So
$g(x') - g(x) = \langle J, x' - x\rangle$, with J inside the interval that the chain rule gives when each slope is
replaced by its range. ReLU needs no derivative for that. With middle c and half width r, backwards,

$$c \to c\,d_c,\quad r \to |c|\,d_r + r(|d_c| + d_r) \quad\text{through an activation with slopes } d_c \pm d_r, \qquad
c \to W^T c,\quad r \to |W|^T r.$$

So the energy's mean of $\|\nabla g\|_q^2$ becomes its supremum: $\sup \|\nabla g\|_q \le \| |c| + r \|_q$.
Source: docs/mathematics.md, section 9.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from holomorph.enclosures.curves import Curve
from holomorph.enclosures.lines import through
from holomorph.enclosures.maps import LinearMap, Shape
from holomorph.enclosures.rounding import DOUBLE, SUM, gamma
from holomorph.enclosures.values import Enclosures


class Slopes(NamedTuple):
    """The slope at the input lies in middle +- half, (rows, batch, ...).

    ``strayed`` (rows, batch) bounds what the tolerances of all steps can add to a difference of two computed values.
    """

    middle: Tensor
    half: Tensor
    strayed: Tensor

    @property
    def low(self) -> Tensor:
        """The least slope."""
        return self.middle - self.half

    @property
    def high(self) -> Tensor:
        """The largest slope."""
        return self.middle + self.half


def slopes(found: Enclosures, rows: Tensor) -> Slopes:
    """Enclose the slope of $<a, h>$ for rows a of (rows, batch, outputs), h the program's output.

    Differentiable in the weights where the program is, so that a rule can minimise what it bounds.
    """
    program = found.program
    strayed = torch.zeros(rows.shape[:2], dtype=rows.dtype, device=rows.device)
    cotangents: dict[int, tuple[Tensor, Tensor]] = {len(program.steps): (rows, torch.zeros_like(rows))}
    for number in range(len(program.steps) - 1, -1, -1):
        known = cotangents.pop(number + 1, None)
        if known is None:
            continue
        middle, half = known
        step, size = program.steps[number], middle.abs() + half
        strayed = strayed + (size * found.values[number + 1].tolerance).flatten(2).sum(2)
        if isinstance(step.operation, Curve):
            before = found.values[step.sources[0]]
            known = _through_curve(step.operation.slopes(before.low, before.high), middle, half)
        elif isinstance(step.operation, LinearMap):
            known = _through_map(step.operation, middle, half, found.values[step.sources[0]].shape)
        for source in step.sources:
            cotangents[source] = _add(cotangents[source], known) if source in cotangents else known
    return Slopes(*cotangents[0], strayed * SUM)


def _through_curve(slope: tuple[Tensor, Tensor], middle: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    centre, spread = (slope[0] + slope[1]) / 2, (slope[1] - slope[0]) / 2
    rounding = 4 * DOUBLE * (middle.abs() + half) * (centre.abs() + spread)
    return middle * centre, middle.abs() * spread + half * (centre.abs() + spread) + rounding


def _through_map(operation: LinearMap, middle: Tensor, half: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    terms = operation.terms(shape)
    if terms == 0:
        return through(operation, middle, shape), through(operation, half, shape)
    moduli = operation.absolute()
    wide = half + 3 * gamma(terms, DOUBLE) * (middle.abs() + half)
    return through(operation, middle, shape), through(moduli, wide, shape)


def _add(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    middle = first[0] + second[0]
    return middle, (first[1] + second[1]) * SUM + DOUBLE * middle.abs()
