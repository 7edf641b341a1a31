r"""Linear bounds of a network's values over a region, found from the output backwards.

Every activation is a line plus a remainder inside a band (:meth:`holomorph.enclosures.curves.Curve.band`), so a row
$a$ of cotangents at some value becomes, one step further back, $W^T a$ or $\alpha a$, and what the remainders can do is
bounded by $|a|\rho$. At the input, with $\langle a, x'\rangle$ between its extremes over the region,

$$\langle a_v, v(x')\rangle \ge \min_{x'} \langle a_0, x'\rangle + \sum_k \langle a_k, b_k\rangle
    - \sum_k \langle |a_k|, \rho_k\rangle.$$

The cotangents need not be exact: the difference between $W^T a$ and what was computed for it acts on the value before
the step, and is bounded by $\gamma |a|\,|W||v|$, which every tolerance contains. After Zhang et al. 2018 (CROWN) and
Wong and Kolter 2018, with one slope for both sides.
"""

import torch
from torch import Tensor

from holomorph.enclosures.curves import Curve
from holomorph.enclosures.maps import LinearMap, Shape
from holomorph.enclosures.program import Program
from holomorph.enclosures.region import Region
from holomorph.enclosures.rounding import DOUBLE, SUM, gamma
from holomorph.enclosures.values import Enclosures

#: Numbers in the cotangents of one chunk of rows: about 64 MiB in double precision.
_CHUNK = 2**23


def bounds(found: Enclosures, value: int, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The least and largest $<a, v>$ for rows a at a value: (rows, batch) each.

    Parameters
    ----------
    found:
        Enclosures of all values before it.
    value:
        Its number in the program.
    rows:
        (rows, batch, ...).
    """
    constant = torch.zeros(rows.shape[:2], dtype=rows.dtype, device=rows.device)
    summed, slack, count = torch.zeros_like(constant), torch.zeros_like(constant), 4
    cotangents = {value: rows}
    for number in range(value - 1, -1, -1):
        a = cotangents.pop(number + 1, None)
        if a is None:
            continue
        step, size = found.program.steps[number], a.abs()
        offset: Tensor | None = None
        if isinstance(step.operation, Curve):
            band = found.band(number, step.operation)
            back, offset, rest = a * band.slope, band.offset, band.half
        else:
            rest = found.values[number + 1].tolerance
            back = a
            if isinstance(step.operation, LinearMap):
                back = through(step.operation, a, found.values[step.sources[0]].shape)
                offset = None if step.operation.bias is None else step.operation.spread(step.operation.bias, a[0])
        slack = slack + (size * rest).flatten(2).sum(2)
        if offset is not None:
            constant = constant + (a * offset).flatten(2).sum(2)
            summed = summed + (size * offset.abs()).flatten(2).sum(2)
            count += a[0, 0].numel()
        for source in step.sources:
            cotangents[source] = cotangents[source] + back if source in cotangents else back
    low, high = found.region.range(cotangents[0])
    slack = (slack + gamma(count, DOUBLE) * (summed + low.abs() + high.abs())) * SUM
    return low + constant - slack, high + constant + slack


def through(operation: LinearMap, rows: Tensor, shape: Shape) -> Tensor:
    """Rows of cotangents (rows, batch, ...) one linear map further back."""
    back = operation.transpose(rows.flatten(0, 1), shape)
    return back.reshape(*rows.shape[:2], *shape)


def enclose_tightly(program: Program, region: Region, unit: float) -> Enclosures:
    """All values, those that enter an activation by linear bounds as well as by intervals.

    The work grows with the number of activations times that of a backward pass each.
    """
    found = Enclosures(program, region, unit)
    entering = {source for _, source in program.curves()}
    for value in range(len(program.steps) + 1):
        if value > 0:
            found.advance()
        if value in entering and value > 0 and not (region.is_box and not program.has_curve_before(value)):
            low, high = _all_rows(found, value)
            found.values[value] = found.values[value].within(low, high)
    return found


def _all_rows(found: Enclosures, value: int) -> tuple[Tensor, Tensor]:
    """Linear bounds of every coordinate of a value: (batch, ...) each."""
    own = found.values[value].low
    batch, count = len(own), own[0].numel()
    widest = max(known[0].numel() for known in (v.low for v in found.values))
    size = max(1, _CHUNK // (batch * widest))
    lows, highs = [], []
    for start in range(0, count, size):
        number = min(size, count - start)
        rows = torch.zeros(number, count, dtype=own.dtype, device=own.device)
        rows[torch.arange(number), torch.arange(start, start + number)] = 1
        shaped = rows[:, None].expand(-1, batch, -1).reshape(number, *own.shape)
        low, high = bounds(found, value, shaped)
        lows.append(low)
        highs.append(high)
    return torch.cat(lows).mT.reshape(own.shape), torch.cat(highs).mT.reshape(own.shape)
