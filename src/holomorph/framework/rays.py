"""Taylor polynomials of a scalar function along rays, and their real roots, for a whole batch at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp

from holomorph.calculus.norms import per_sample

#: A root counts as real if its imaginary part is below this share of its modulus.
_REAL = 1e-6


def taylor(f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, degree: int) -> Tensor:
    r"""Coefficients $c_k = \frac{1}{k!} \frac{d^k}{du^k} f(x + u v)|_{u=0}$, by nested forward differentiation.

    Parameters
    ----------
    f:
        One number a sample, (batch, ...) -> (batch,); samples do not influence each other.
    x, v:
        Points and directions, (batch, ...).
    degree:
        The highest k. The cost grows like 2^degree evaluations of f.

    Returns
    -------
    (batch, degree + 1)

    Source: docs/mathematics.md, section 5.

    Examples
    --------
    >>> taylor(lambda x: x[:, 0] ** 3, torch.tensor([[1.0]]), torch.tensor([[2.0]]), 3)
    tensor([[ 1.,  6., 12.,  8.]])
    """

    def derivatives(u: Tensor, order: int) -> tuple[Tensor, ...]:
        if order == 0:
            return (f(x + per_sample(u, x) * v),)
        pushed: tuple[tuple[Tensor, ...], ...] = jvp(lambda t: derivatives(t, order - 1), (u,), (torch.ones_like(u),))
        below, raised = pushed
        return (*below, raised[-1])

    with torch.no_grad():
        stack = derivatives(torch.zeros(len(x), dtype=x.dtype, device=x.device), degree)
    return torch.stack([c / math.factorial(k) for k, c in enumerate(stack)], 1)


def between(value: Tensor, slope: Tensor, end: Tensor, end_slope: Tensor | None = None) -> Tensor:
    r"""Coefficients of the polynomial with given value and slope at u = 0 and value (and slope) at u = 1.

    Equal to the Taylor polynomial for functions that are polynomials of degree 2 along the ray (of degree 3 with the
    second slope); else Hermite's interpolation, two expansions in one.

    Parameters
    ----------
    value, slope, end, end_slope:
        p(0), p'(0), p(1), p'(1), each (batch,).

    Returns
    -------
    (batch, 3) or, with the second slope, (batch, 4)

    Source: docs/mathematics.md, section 5.

    Examples
    --------
    >>> one, two = torch.tensor([1.0]), torch.tensor([2.0])
    >>> between(one, two, 4 * one)  # 1 + 2u + u^2
    tensor([[1., 2., 1.]])
    >>> between(one, two, 5 * one, 7 * one)  # 1 + 2u + u^2 + u^3
    tensor([[1., 2., 1., 1.]])
    """
    rise = end - value
    if end_slope is None:
        return torch.stack([value, slope, rise - slope], 1)
    return torch.stack([value, slope, 3 * rise - 2 * slope - end_slope, slope + end_slope - 2 * rise], 1)


def smallest_positive_root(coefficients: Tensor) -> Tensor:
    """Return the smallest u > 0 at which the polynomial vanishes, infinity if there is none; (batch,).

    >>> smallest_positive_root(torch.tensor([[2.0, -3.0, 1.0], [1.0, 0.0, 1.0]], dtype=torch.float64))
    tensor([1., inf], dtype=torch.float64)
    """
    inverse = _real_inverse_roots(coefficients)
    largest = inverse.nan_to_num(nan=0.0).amax(1)
    root = torch.where(largest > 0, 1 / largest, torch.full_like(largest, math.inf))
    return torch.where(coefficients[:, 0] == 0, torch.zeros_like(root), root).to(coefficients.dtype)


def _real_inverse_roots(coefficients: Tensor) -> Tensor:
    """Return 1/u for the real roots u, NaN in place of the others; (batch, degree).

    The reversed polynomial c_0 w^K + ... + c_K in w = 1/u is made monic by c_0, which does not vanish away from
    the boundary, whereas the highest coefficient may.
    """
    c = coefficients.double()
    degree = c.shape[1] - 1
    lead = torch.where(c[:, :1] == 0, torch.ones_like(c[:, :1]), c[:, :1])
    monic = (c[:, 1:] / lead).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    companion = torch.zeros(len(c), degree, degree, dtype=c.dtype, device=c.device)
    companion[:, 0] = -monic
    below = torch.arange(degree - 1, device=c.device)
    companion[:, below + 1, below] = 1.0
    w = torch.linalg.eigvals(companion)
    real = w.imag.abs() <= _REAL * w.abs()
    return torch.where(real, w.real, torch.full_like(w.real, math.nan))
