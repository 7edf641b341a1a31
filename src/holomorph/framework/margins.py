r"""How far the decision boundary is: to first order, and by Taylor polynomials re-expanded near the boundary.

For a sample x with label y and a rival j the margin is $m_j = h_y - h_j$; the answer changes where the least of them
changes sign. Both functions here *estimate* the distance to that set. Neither is a certificate: a lower bound would
need a bound on the derivatives over the whole ball.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from holomorph.calculus.norms import norm, per_sample
from holomorph.errors import ConfigError, ModelError
from holomorph.framework.halfspaces import smallest_step
from holomorph.framework.rays import interpolated, nearest_root, smallest_positive_root, taylor
from holomorph.types import Differentiable, ThreatModel, check_batch


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
    expansions: int = 3,
    rivals: int | None = None,
    derivatives: Literal["divided", "exact"] = "divided",
) -> Margin:
    r"""Distance to the boundary by polynomials along the dual direction, re-expanded near the boundary.

    The first expansion is made at x for every rival: with $\delta_0$ the smallest step of the linearised margin,
    $m_j(x + u\,\delta_0) = \sum_k c_k u^k$, and the smallest positive root u gives the point $x_1 = x + u\,\delta_0$.
    The nearest rival is followed: each further expansion takes the gradient at the point found, the nearest point
    $x + \delta_k$ of *its* half-space, and the polynomial of $m_j(x + (1 + u)\,\delta_k)$, whose root nearest to 0
    gives the next point. The estimate is $\|x_k - x\|_p$ at the last one.

    Exact for margins that are polynomials of the given degree and whose nearest boundary point lies along the dual
    direction of the gradient, such as linear ones and, in l_2, radial quadratics; re-expanded, exact in the limit
    wherever the nearest point of the boundary is isolated and the iteration settles. Neither a lower nor an upper
    bound.

    Parameters
    ----------
    model, x, y, threat, rivals:
        As for :func:`first_order`.
    degree:
        The degree of the polynomials.
    expansions:
        How many expansions are made; 1 does not re-expand.
    derivatives:
        ``"divided"``: value and gradient at the centre and values at degree - 1 further points of the ray, each at
        the price of one evaluation (the slope of a re-expansion is that of the point before). ``"exact"``: Taylor
        coefficients by nested forward differentiation, which costs about 2^degree times more.

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
    slope = (rows.gradient * step.delta).flatten(1).sum(1)
    margin = _margin_of(model, rows.y, rows.rival)
    if derivatives == "exact":
        coefficients = taylor(margin, rows.x, step.delta, degree)
    else:
        coefficients = interpolated(margin, rows.x, step.delta, rows.value, slope, degree)
    u = _bounded(smallest_positive_root(coefficients), otherwise=1.0)
    delta = (rows.x + per_sample(u, rows.x) * step.delta).clamp(*threat.box) - rows.x
    found = _least(x, rows, delta, step.reaches, threat)
    exact = degree if derivatives == "exact" else None
    for _ in range(expansions - 1):
        found = _again(_margin_of(model, y, found.rival), x, found, threat, exact)
    return found


def _again(
    margin: Callable[[Tensor], Tensor], x: Tensor, found: Margin, threat: ThreatModel, degree: int | None
) -> Margin:
    """Expand once more, at the nearest point of the half-space that touches the margin at the point found."""
    value, gradient = _gradient(margin, found.point)
    need = value - (gradient * (found.point - x)).flatten(1).sum(1)
    step = smallest_step(-gradient, need.clamp_min(0), x, threat)
    if degree is None:
        slope = (gradient * step.delta).flatten(1).sum(1)
        with torch.no_grad():
            coefficients = torch.stack([margin(x + step.delta), slope], 1)
    else:
        coefficients = taylor(margin, x + step.delta, step.delta, degree)
    u = 1 + _bounded(nearest_root(coefficients), otherwise=0.0).clamp(-0.5, 0.5)
    point = (x + per_sample(u, x) * step.delta).clamp(*threat.box)
    distance = norm(point - x, threat.p).masked_fill(~step.reaches, math.inf)
    wrong = found.distance == 0
    return Margin(distance.masked_fill(wrong, 0.0), found.rival, torch.where(per_sample(wrong, x), x, point))


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


def _gradient(margin: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        value = margin(leaf)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


def _bounded(u: Tensor, otherwise: float) -> Tensor:
    return torch.where(torch.isfinite(u), u, torch.full_like(u, otherwise))


def _least(x: Tensor, rows: _Rows, delta: Tensor, reaches: Tensor, threat: ThreatModel) -> Margin:
    distance = norm(delta, threat.p).masked_fill(~reaches, math.inf).masked_fill(rows.value <= 0, 0.0)
    table = distance.reshape(len(x), -1)
    best = table.argmin(1)
    row = torch.arange(len(x), device=x.device) * table.shape[1] + best
    moved = torch.where(per_sample(table.gather(1, best[:, None])[:, 0] > 0, x), rows.x[row] + delta[row], x)
    return Margin(table.gather(1, best[:, None])[:, 0], rows.rival[row], moved)
