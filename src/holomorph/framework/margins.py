r"""How far the decision boundary is: to first order, and by Taylor polynomials re-expanded near the boundary.

For a sample x with label y and a rival j the margin is $m_j = h_y - h_j$; the answer changes where the least of them
changes sign. Both functions here *estimate* the distance to that set. Neither is a certificate: a lower bound would
need a bound on the derivatives over the whole ball.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from holomorph.calculus.norms import norm, per_sample
from holomorph.errors import ConfigError, ModelError
from holomorph.framework.halfspaces import smallest_step
from holomorph.framework.rays import between, smallest_positive_root
from holomorph.types import Differentiable, ThreatModel, check_batch

#: A crossing is believed if the margin where the gradient was taken is below this share of the sample's, and if at
#: the crossing itself, which the box may have moved, it is at most that share.
_NEAR, _CUT = 0.3, 0.05

#: A step must gain at least this share of the margin; else the boundary lies behind the point and the gradients'
#: mean takes over.
_USELESS = 0.1

#: A rival is given up once its boundary seems so many times farther than the nearest: of crossings that have settled,
#: of crossings, of what the slopes say.
_SETTLED, _FAR, _FARTHER = 1.25, 2.0, 4.0


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

    def at(self, mask: Tensor) -> _Rows:
        """Some of the rows."""
        return _Rows(*(t[mask] for t in self))

    def margin(self, logits: Tensor) -> Tensor:
        """The logit of the label minus that of the rival."""
        return (logits.gather(1, self.y[:, None]) - logits.gather(1, self.rival[:, None]))[:, 0]


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
    distance = norm(step.delta, threat.p).masked_fill(~step.reaches, math.inf).masked_fill(rows.value <= 0, 0.0)
    return _least(x, rows, step.delta, distance)


def analytic(
    model: Differentiable,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    rivals: int | None = None,
    expansions: int = 10,
    tolerance: float = 0.01,
) -> Margin:
    r"""Distance to the boundary by polynomials along dual directions, re-expanded at the boundary until it settles.

    For each rival, along the smallest step $\delta$ into the half-space of the linearised margin $m_j$: the quadratic
    in u with the value and slope of $m_j(x + u\,\delta)$ at 0 and its value at 1; its smallest positive root gives a
    point. Each further expansion takes value and gradient at the point: the cubic with value and slope at both ends
    gives the crossing on this ray, and the smallest step into the half-space at the crossing the next ray. A rival has
    settled when the half-space is as near as the crossing, and is given up when another's is much nearer. The
    least crossing over rivals and expansions counts, provided that the margin at the ray's end was below 30 % of m(x).

    Exact where margins are quadratic (expanded again: cubic) along the dual direction and it meets the nearest
    boundary point (linear margins; in l_2 radial quadratics); in the limit where the iteration settles on the nearest
    point. An estimate: on the other side of an accurate crossing the answer changes, so it lies rarely below the true
    distance, but the end point is not run through the model again. A plain network settles in two or three
    expansions; how many a network needs says how much its gradient turns on the way to the boundary.

    Parameters
    ----------
    model, x, y, threat, rivals:
        As for :func:`first_order`.
    expansions:
        The most expansions of a rival, the one at x included; 1 does not re-expand.
    tolerance:
        By what share of its distance a crossing may be farther than its half-space where a rival counts as settled.

    Raises
    ------
    DataError, ModelError, ConfigError
        As for :func:`first_order`, and for a number of expansions below 1.

    Source: docs/mathematics.md, section 5; our derivation.

    Examples
    --------
    >>> ring = lambda x: torch.stack([x.square().sum(1), torch.full((len(x),), 0.25, dtype=x.dtype)], 1)
    >>> x = torch.tensor([[0.8, 0.0]], dtype=torch.float64)  # |x|^2 > 1/4 where |x| > 1/2
    >>> threat = ThreatModel(2, 0.5, box=(-1, 1))
    >>> analytic(ring, x, torch.tensor([0]), threat).distance
    tensor([0.3000], dtype=torch.float64)
    """
    if expansions < 1:
        raise ConfigError(f"expansions must be at least 1, not {expansions}.")
    rows = _rows(model, x, y, threat, rivals)
    first = smallest_step(-rows.gradient, rows.value.clamp_min(0), rows.x, threat)
    count = len(rows.x) // len(x)
    length = norm(first.delta, threat.p).masked_fill(~first.reaches, math.inf)
    wrong = (rows.value.reshape(len(x), count) <= 0).any(1).repeat_interleave(count)
    live = ~wrong & (length <= _FARTHER * _nearest(length, count)[0])
    rays = _Rays(first.delta.clone(), length, torch.full_like(length, math.inf), rows.x + first.delta)
    if live.any():
        _stretch(model, rows.at(live), rays, live, threat)
    for _ in range(expansions - 1):
        least, row = _nearest(rays.best, count)
        live &= torch.minimum(rays.best, rays.length) <= torch.where(live[row], _FAR, _SETTLED) * least
        if not live.any():
            break
        gained = _expand(model, rows.at(live), rays, live, threat)
        live[live.clone()] = gained > tolerance
    found = torch.isfinite(rays.best)
    some = found.reshape(len(x), count).any(1).repeat_interleave(count)
    distance = torch.where(some | ~first.reaches, rays.best, rays.length).masked_fill(wrong & (rows.value <= 0), 0.0)
    return _least(x, rows, rays.point - rows.x, distance)


class _Rays(NamedTuple):
    """One row for each pair: the step, the latest crossing, the nearest so far and its point; changed in place."""

    step: Tensor
    length: Tensor
    best: Tensor
    point: Tensor


def _nearest(distance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """For each row the least distance among its sample's rows, and that row's index."""
    least, place = distance.reshape(-1, count).min(1)
    return least.repeat_interleave(count), (
        place + count * torch.arange(len(place), device=place.device)
    ).repeat_interleave(count)


def _stretch(model: Differentiable, rows: _Rows, rays: _Rays, live: Tensor, threat: ThreatModel) -> None:
    """Stretch the first steps to the root of the quadratic with the margin's value at their ends."""
    step = rays.step[live]
    with torch.no_grad():
        end = rows.margin(model(rows.x + step))
    slope = (rows.gradient * step).flatten(1).sum(1)
    u = smallest_positive_root(between(rows.value, slope, end))
    u = torch.where(torch.isfinite(u), u, torch.ones_like(u)).clamp_max(2.0)
    rays.step[live] = (rows.x + per_sample(u, step) * step).clamp(*threat.box) - rows.x
    rays.length[live] = norm(rays.step[live], threat.p)
    rays.point[live] = rows.x + rays.step[live]


def _expand(model: Differentiable, rows: _Rows, rays: _Rays, live: Tensor, threat: ThreatModel) -> Tensor:
    """Expand at the ends of the steps: note the crossings, turn the steps to the half-spaces found there.

    Returns by which share of its way the half-space is nearer than the crossing; none where the two agree.
    """
    step = rays.step[live]
    leaf = (rows.x + step).detach().requires_grad_()
    with torch.enable_grad():
        value = rows.margin(model(leaf))
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    end = value.detach()
    slope, end_slope = ((g * step).flatten(1).sum(1) for g in (rows.gradient, gradient))
    u = _crossing(between(rows.value, slope, end, end_slope), end)
    crossing = (rows.x + per_sample(u, step) * step).clamp(*threat.box)
    distance = norm(crossing - rows.x, threat.p)
    there = end + (gradient * (crossing - leaf.detach())).flatten(1).sum(1)  # the box may have cut the step
    believed = (end.abs() <= _NEAR * rows.value) & ((end <= 0) | (there <= _CUT * rows.value))
    closer = believed & (distance < rays.best[live])
    rays.best[live] = torch.where(closer, distance, rays.best[live])
    rays.point[live] = torch.where(per_sample(closer, step), crossing, rays.point[live])
    gain = -u * end_slope
    astray = gain <= _USELESS * rows.value
    gradient = torch.where(per_sample(astray, step), (gradient + rows.gradient) / 2, gradient)
    gain = torch.where(astray, rows.value, gain)
    rays.step[live] = smallest_step(-gradient, gain, rows.x, threat).delta
    rays.length[live] = distance
    nearer = 1 - norm(rays.step[live], threat.p) / distance
    return torch.where(believed & ~astray, nearer, torch.ones_like(distance))


def _crossing(cubic: Tensor, end: Tensor) -> Tensor:
    """The root of the cubic nearest to 1 on the side where its value at 1, ``end``, puts the boundary; 1.5 at most."""
    _, b, c, d = cubic.unbind(1)
    beyond = end > 0
    seen = torch.stack([end, b + 2 * c + 3 * d, c + 3 * d, d], 1)  # the same cubic, expanded at 1
    u = smallest_positive_root(torch.where(beyond[:, None], seen, cubic)) + beyond
    return torch.where(torch.isfinite(u), u, torch.ones_like(u)).clamp_max(1.5)


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


def _least(x: Tensor, rows: _Rows, delta: Tensor, distance: Tensor) -> Margin:
    """The nearest rival of each sample; samples that are wrong already stay where they are."""
    table = distance.reshape(len(x), -1)
    best = table.argmin(1)
    row = torch.arange(len(x), device=x.device) * table.shape[1] + best
    least = table.gather(1, best[:, None])[:, 0]
    return Margin(least, rows.rival[row], torch.where(per_sample(least > 0, x), rows.x[row] + delta[row], x))
