r"""The kernel of the Fock space with energy, $\kappa_\lambda(t) = {}_1F_1(1/\lambda; 1 + 1/\lambda; t)$."""

import functools
import math
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from holomorph.errors import ConfigError, DomainError

_EXP_LIMIT = {torch.float64: 700.0, torch.complex128: 700.0, torch.float32: 85.0, torch.complex64: 85.0}


_FURTHER = 4  #: Derivatives beyond the one asked for that the nodes are good for.


def fock_kernel(t: Tensor, weight: float = 0.0, *, derivative: int = 0, tolerance: float = 1e-14) -> Tensor:
    r"""$\kappa_\lambda(t)$ or one of its derivatives, by Gauss-Jacobi quadrature.

    $$\kappa_\lambda(t) = \sum_k \frac{t^k}{k!\,(1 + \lambda k)} = \int_0^1 e^{r^\lambda t}\,dr
      = \int_0^1 e^{st}\,\tfrac1\lambda s^{1/\lambda - 1}\,ds$$

    The last integrand is entire in s apart from the Jacobi weight, so Gauss's rule converges faster than
    geometrically. *Stated accuracy*: with N nodes the error is at most
    $8\,(|t|/4)^{2N}/(2N)!\;e^{\max(\mathrm{Re}\,t, 0)}$; for derivatives see :func:`node_count`. N is the least
    number that brings the factor below ``tolerance`` for this derivative and the next four. *Proof*: the N-point error
    is $f^{(2N)}(\xi)\gamma_N/(2N)!$, for the real and imaginary part each. Here $\gamma_N \le 4 \cdot 16^{-N}$, for
    the monic orthogonal polynomial has the least norm, and the monic Chebyshev polynomial of [0, 1] is at most
    $2 \cdot 4^{-N}$. All weights are positive, so nothing cancels for negative t.

    Parameters
    ----------
    t:
        Inner products <z, w>, real or complex, any shape.
    weight:
        lambda, the weight of the energy; 0 gives exp(t).
    derivative:
        How many times to differentiate in t.
    tolerance:
        The accuracy, relative to exp(max(Re t, 0)).

    Raises
    ------
    ConfigError
        For a negative weight.
    DomainError
        If exp(t) overflows: the points are too far out for the kernel's scale.

    Differentiable any number of times. Source: docs/mathematics.md, section 4 (the kernel is our derivation).

    >>> from scipy.special import hyp1f1
    >>> t = torch.tensor([-30.0, 0.0, 2.0], dtype=torch.float64)
    >>> abs(fock_kernel(t, 0.5).numpy() / hyp1f1(2, 3, t.numpy()) - 1).max() < 1e-11
    np.True_
    """
    if weight < 0 or not math.isfinite(weight):
        raise ConfigError(f"The weight of the energy must be a number >= 0, not {weight}.")
    size = float(t.detach().abs().max()) if t.numel() else 0.0
    top = float(t.detach().real.max()) if t.numel() else 0.0
    if not math.isfinite(size) or top > _EXP_LIMIT[t.dtype]:
        raise DomainError(
            f"The Fock kernel overflows: <z, w>/scale^2 reaches {top:.3g}. "
            f"Give a larger scale, or standardise the features."
        )
    nodes, masses = quadrature(float(weight), node_count(size, tolerance, derivative + _FURTHER))
    return _Mixture.apply(t, nodes, masses, derivative)  # type: ignore[no-untyped-call]


def node_count(size: float, tolerance: float, order: int = 0) -> int:
    r"""The least N for which N nodes give $\int s^k e^{st}$, k = order, to the tolerance for all $|t| \le$ size.

    The derivative of order 2N of the integrand is at most $|t|^{2N-k}(|t| + 2N)^k$ times the exponential, so the
    condition is $8\,|t|^{2N-k}(|t|+2N)^k/(4^{2N}(2N)!) \le$ tolerance; at t = 0 it is 2N > k.
    """
    n = order // 2 + 1
    target = math.log(tolerance / 8)
    if size <= 0:
        return n

    def error(n: int) -> float:
        return (2 * n - order) * math.log(size) + order * math.log(size + 2 * n) - 2 * n * math.log(4)

    while error(n) - math.lgamma(2 * n + 1) > target:
        n += 1
    return n


@functools.lru_cache(maxsize=64)
def quadrature(weight: float, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    r"""Nodes s in (0, 1] and masses (summing to one) for the density $\frac1\lambda s^{1/\lambda - 1}$."""
    if weight == 0:
        return (1.0,), (1.0,)
    if weight < 1e-4:
        raise ConfigError(f"The weight {weight:g} is too small to tell from 0. Use 0 or at least 1e-4.")
    # Golub and Welsch: the eigenvalues of the Jacobi matrix, and the first entries of its eigenvectors. Unlike formulas
    # with the Gamma function it knows no overflow at small weights.
    b = 1 / weight - 1
    k = np.arange(1, count)
    diagonal = np.concatenate([[b / (b + 2)], b**2 / ((2 * k + b) * (2 * k + b + 2))])
    ratio = np.where(k == 1, 1.0, k + b) / np.where(k == 1, 1.0, 2 * k + b - 1)  # one at k = 1
    beside = 4 * k**2 * (k + b) * ratio / ((2 * k + b) ** 2 * (2 * k + b + 1))
    nodes, vectors = eigh_tridiagonal(diagonal, np.sqrt(beside))
    masses = vectors[0] ** 2
    return tuple(((1 + nodes) / 2).tolist()), tuple((masses / np.sum(masses)).tolist())


class _Mixture(torch.autograd.Function):
    r"""$\sum_j m_j s_j^k \exp(s_j t)$; its derivative is the same sum with k + 1."""

    @staticmethod
    def forward(t: Tensor, nodes: tuple[float, ...], masses: tuple[float, ...], order: int) -> Tensor:
        total, term = torch.zeros_like(t), torch.empty_like(t)  # one buffer: fresh memory can cost more than exp
        for node, mass in zip(nodes, masses, strict=True):
            total.add_(term.copy_(t).mul_(node).exp_(), alpha=mass * node**order)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        t, *ctx.settings = inputs
        ctx.save_for_backward(t)
        ctx.save_for_forward(t)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        nodes, masses, order = ctx.settings
        slope = _Mixture.apply(ctx.saved_tensors[0], nodes, masses, order + 1)  # type: ignore[no-untyped-call]
        return grads[0] * slope.conj(), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        nodes, masses, order = ctx.settings
        slope = _Mixture.apply(ctx.saved_tensors[0], nodes, masses, order + 1)  # type: ignore[no-untyped-call]
        return tangents[0] * slope
