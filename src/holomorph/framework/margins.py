r"""How far the decision boundary is: to first order, and by Taylor polynomials re-expanded near the boundary.

For a sample x with label y and a rival j the margin is $m_j = h_y - h_j$; the answer changes where the least of them
changes sign. Both functions here *estimate* the distance to that set. Neither is a certificate: a lower bound would
need a bound on the derivatives over the whole ball.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from holomorph.calculus.norms import norm, per_sample
from holomorph.calculus.observables import margin as observed
from holomorph.errors import ConfigError, ModelError
from holomorph.framework.halfspaces import smallest_step
from holomorph.framework.rays import interpolated, smallest_positive_root
from holomorph.types import Differentiable, ThreatModel, check_batch

#: A point counts as near the boundary if the margin there is below this share of the sample's.
_NEAR = 0.05

#: A half-space at a point is of no use if its boundary is nearer to x than this share of the margin says.
_USELESS = 0.2


class Margin(NamedTuple):
    """The estimated distance to the boundary (0 where the answer is wrong already), the rival met there, the point."""

    distance: Tensor
    rival: Tensor
    point: Tensor


class _Rows(NamedTuple):
    """One row for each pair of a sample and a rival, sample by sample."""

    x: Tensor
    y: Tensor
    rival: Tensor
    value: Tensor
    gradient: Tensor


def first_order(
    model: Differentiable, x: Tensor, y: Tensor, threat: ThreatModel, *, rivals: int | None = None
) -> Margin:
    r"""Distance to the nearest of the rivals' linearised boundaries, inside the box.

    $$\min_{j \ne y}\; \min\{\|\delta\|_p : m_j(x) + \langle\nabla m_j(x), \delta\rangle \le 0,\; x + \delta \in
    \text{box}\}$$

    Exact for linear models. Without the box's walls in reach it is $\min_j m_j / \|\nabla m_j\|_q$. Infinite where
    no rival can be reached.

    Parameters
    ----------
    model:
        Maps (batch, ...) to logits (batch, K).
    x, y:
        Samples in the threat's box and their labels.
    threat:
        Its norm and box are used, not its radius.
    rivals:
        How many rivals to look at, those with the largest logits first; all of them unless given.

    Raises
    ------
    DataError, ModelError, ConfigError
        For data outside the box, outputs that are not logits of at least two classes, or no rivals.

    Source: docs/mathematics.md, section 6.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 2)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]])), model.bias.data.zero_()
    >>> x, y = torch.tensor([[0.3, 0.1]]), torch.tensor([0])
    >>> first_order(model, x, y, ThreatModel("inf", 0.1)).distance  # the second coordinate meets the box at 0.1
    tensor([0.3000])
    """
    rows = _rows(model, x, y, threat, rivals)
    step = smallest_step(-rows.gradient, rows.value.clamp_min(0), rows.x, threat)
    return _least(x, rows, step.delta, step.reaches, threat)


def analytic(
    model: Differentiable,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    degree: int = 2,
    expansions: int = 4,
    rivals: int | None = None,
) -> Margin:
    r"""Distance to the boundary by polynomials along dual directions, re-expanded near the boundary.

    First, for every rival, along the smallest step $\delta$ into the half-space of the linearised margin, the
    polynomial $m_j(x + u\,\delta) = \sum_k c_k u^k$; its smallest positive root u gives the point $x + u\,\delta$.
    The nearest of these points is followed: each further expansion takes the gradient of
    $m = h_y - \max_{j \ne y} h_j$ at the point found, the smallest step into *its* half-space, and the polynomial of
    m along that step. Where the half-space at the point already holds x (the expansion went too far), the mean of the
    gradients at x and at the point replaces it, which is exact for quadratic margins. The estimate is the shortest
    step found at whose end m is below 5 % of m(x), corrected by a Newton step along its ray; failing that, the last.

    The polynomials have the value and slope of m at x and its values at degree - 1 further points of the ray, so they
    are Taylor's where m is a polynomial of this degree. Exact for such margins if the nearest boundary point lies along
    the dual direction (linear margins; in l_2 radial quadratics); re-expanded, exact in the limit where the iteration
    settles on the nearest point. An estimate: neither a lower nor, in general, an upper bound.

    Parameters
    ----------
    model, x, y, threat, rivals:
        As for :func:`first_order`.
    degree:
        The degree of the polynomials; each degree above the first costs one evaluation of the model an expansion.
    expansions:
        How many expansions are made; 1 does not re-expand.

    Raises
    ------
    DataError, ModelError, ConfigError
        As for :func:`first_order`, and for a degree or a number of expansions below 1.

    Source: docs/mathematics.md, section 5; our derivation.

    Examples
    --------
    >>> ring = lambda x: torch.stack([x.square().sum(1), torch.full((len(x),), 0.25, dtype=x.dtype)], 1)
    >>> x = torch.tensor([[0.8, 0.0]], dtype=torch.float64)  # |x|^2 > 1/4 where |x| > 1/2
    >>> threat = ThreatModel(2, 0.5, box=(-1, 1))
    >>> analytic(ring, x, torch.tensor([0]), threat).distance
    tensor([0.3000], dtype=torch.float64)
    """
    if degree < 1 or expansions < 1:
        raise ConfigError(f"degree and expansions must be at least 1, not {degree} and {expansions}.")
    rows = _rows(model, x, y, threat, rivals)
    step = smallest_step(-rows.gradient, rows.value.clamp_min(0), rows.x, threat)
    pair = _margin_of(model, rows.y, rows.rival)
    delta = _to_root(pair, rows.x, rows.value, rows.gradient, step.delta, degree, threat, (0.0, math.inf))
    found = _least(x, rows, delta, step.reaches, threat)
    if expansions == 1:
        return found
    start = rows.gradient.reshape(len(x), -1, *x.shape[1:])
    nearest = (rows.rival.reshape(len(x), -1) == found.rival[:, None]).to(torch.int8).argmax(1)
    here = torch.arange(len(x), device=x.device)
    value = rows.value.reshape(len(x), -1)[here, nearest]
    return _refine(model, x, y, threat, found, value, start[here, nearest], degree, expansions - 1)


def _refine(
    model: Differentiable,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    found: Margin,
    value: Tensor,
    start: Tensor,
    degree: int,
    times: int,
) -> Margin:
    """Follow the nearest rival's point; keep the shortest step that ends on the boundary."""

    def margin(z: Tensor) -> Tensor:
        return observed(model(z), y)

    point = last = found.point
    rival = found.rival
    best = torch.full_like(found.distance, math.inf)
    for k in range(times + 1):
        there, gradient, there_rival = _look(model, point, y)
        corrected = _newton(x, point, there, gradient, threat)
        distance = norm(corrected - x, threat.p)
        better = (there <= _NEAR * value) & (distance < best)
        best, last = torch.where(better, distance, best), torch.where(per_sample(better, x), corrected, last)
        rival = torch.where(better | torch.isinf(best), there_rival, rival)
        if k == times:
            break
        need = there - (gradient * (point - x)).flatten(1).sum(1)
        astray = need <= _USELESS * value
        gradient = torch.where(per_sample(astray, x), (start + gradient) / 2, gradient)
        step = smallest_step(-gradient, torch.where(astray, value, need).clamp_min(0), x, threat)
        point = x + _to_root(margin, x, value, start, step.delta, degree, threat, (0.5, 1.5))
    settled = torch.isfinite(best)
    last = torch.where(per_sample(settled, x), last, point)
    wrong = found.distance == 0
    flat = torch.isinf(found.distance) & ~settled
    distance = norm(last - x, threat.p).masked_fill(flat, math.inf).masked_fill(wrong, 0.0)
    return Margin(distance, torch.where(wrong, found.rival, rival), torch.where(per_sample(wrong, x), x, last))


def _newton(x: Tensor, point: Tensor, value: Tensor, gradient: Tensor, threat: ThreatModel) -> Tensor:
    """Move a point near the boundary along its ray from x, by one Newton step of at most a tenth of the way."""
    fall = -(gradient * (point - x)).flatten(1).sum(1)
    stretch = 1 + torch.where(fall > 0, value / fall, torch.zeros_like(fall)).clamp(-0.1, 0.1)
    return (x + per_sample(stretch, x) * (point - x)).clamp(*threat.box)


def _to_root(
    margin: Callable[[Tensor], Tensor],
    x: Tensor,
    value: Tensor,
    gradient: Tensor,
    delta: Tensor,
    degree: int,
    threat: ThreatModel,
    within: tuple[float, float],
) -> Tensor:
    """Stretch a step to the smallest positive root of the margin's polynomial along it, inside the box."""
    slope = (gradient * delta).flatten(1).sum(1)
    u = smallest_positive_root(interpolated(margin, x, delta, value, slope, degree))
    u = torch.where(torch.isfinite(u), u, torch.ones_like(u)).clamp(*within)
    return (x + per_sample(u, x) * delta).clamp(*threat.box) - x


def _rows(model: Differentiable, x: Tensor, y: Tensor, threat: ThreatModel, rivals: int | None) -> _Rows:
    check_batch(x, y, box=threat.box)
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(leaf)
    if logits.ndim != 2 or logits.shape[1] < 2 or logits.shape[0] != len(x):
        raise ModelError(f"A margin needs logits (batch, K) with K >= 2; the model returned {tuple(logits.shape)}.")
    most = logits.shape[1] - 1
    count = most if rivals is None else min(rivals, most)
    if count < 1:
        raise ConfigError(f"rivals must be at least 1, not {rivals}.")
    names = logits.detach().scatter(1, y[:, None], -math.inf).topk(count, dim=1).indices
    values = logits.gather(1, y[:, None]) - logits.gather(1, names)
    gradients = [torch.autograd.grad(values[:, k].sum(), leaf, retain_graph=k + 1 < count)[0] for k in range(count)]
    return _Rows(
        x=x.detach().repeat_interleave(count, 0),
        y=y.repeat_interleave(count),
        rival=names.flatten(),
        value=values.detach().flatten(),
        gradient=torch.stack(gradients, 1).flatten(0, 1),
    )


def _margin_of(model: Differentiable, y: Tensor, rival: Tensor) -> Callable[[Tensor], Tensor]:
    def margin(x: Tensor) -> Tensor:
        logits = model(x)
        return (logits.gather(1, y[:, None]) - logits.gather(1, rival[:, None]))[:, 0]

    return margin


def _look(model: Differentiable, point: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return margin, its gradient and the strongest rival at a point."""
    leaf = point.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(leaf)
        value = observed(logits, y)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient, logits.detach().scatter(1, y[:, None], -math.inf).argmax(1)


def _least(x: Tensor, rows: _Rows, delta: Tensor, reaches: Tensor, threat: ThreatModel) -> Margin:
    distance = norm(delta, threat.p).masked_fill(~reaches, math.inf).masked_fill(rows.value <= 0, 0.0)
    table = distance.reshape(len(x), -1)
    best = table.argmin(1)
    row = torch.arange(len(x), device=x.device) * table.shape[1] + best
    moved = torch.where(per_sample(table.gather(1, best[:, None])[:, 0] > 0, x), rows.x[row] + delta[row], x)
    return Margin(table.gather(1, best[:, None])[:, 0], rows.rival[row], moved)
