r"""The Dirichlet energy of one hidden layer under a Gaussian weight, in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from holomorph.calculus.elementary import forward_mode
from holomorph.errors import ConfigError, ModelError


def gaussian_energy(
    layer1: nn.Linear,
    activation: Callable[[Tensor], Tensor],
    layer2: nn.Linear,
    *,
    mean: Tensor | None = None,
    deviation: float = 1.0,
    nodes: int = 32,
) -> Tensor:
    r"""$E_{x \sim N(\mu, \sigma^2 I)}\|\nabla h(x)\|_F^2$ for $h = V^\top\phi(W^\top x + b) + c$; a scalar.

    $$D = \operatorname{tr}(V^\top \Sigma V),\qquad
      \Sigma_{ij} = \langle w_i, w_j\rangle\, E[\phi'(a_i)\,\phi'(a_j)]$$

    with $(a_i, a_j)$ bivariate normal. Each pair has its own orthonormal frame, the QR factors of $[w_i\; w_j]$, in
    which $a_i$ depends on the first normal coordinate alone; two-dimensional Gauss-Hermite quadrature with ``nodes``
    squared points does the rest, all pairs of a row at once.

    Assumes one hidden layer (summed over the layers of a deeper network it is not its energy) and a smooth
    elementwise activation; the quadrature converges geometrically in ``nodes`` for analytic ones as long as
    ``deviation`` times $\|w_i\|$ stays moderate, and slowly for ReLU. Differentiable in the parameters.

    Parameters
    ----------
    mean, deviation:
        Of the weight, in input units; (n,), zero by default, and a positive number.

    Source: docs/mathematics.md, section 2.

    Examples
    --------
    >>> first, last = nn.Linear(3, 2), nn.Linear(2, 1)
    >>> exact = (last.weight @ first.weight).square().sum()  # a linear network: |VW|_F^2
    >>> bool(torch.isclose(gaussian_energy(first, lambda a: a, last), exact))
    True
    """
    if layer2.in_features != layer1.out_features:
        raise ModelError(f"The layers do not fit: {layer1.out_features} hidden units, then {layer2.in_features}.")
    if not deviation > 0 or nodes < 1:
        raise ConfigError("deviation must be positive and nodes at least 1.")
    W: Tensor = layer1.weight
    V: Tensor = layer2.weight
    centre = W.new_zeros(len(W)) if layer1.bias is None else layer1.bias + 0
    if mean is not None:
        centre = centre + W @ mean
    points, weights = _gauss_hermite(nodes, W)
    mixing = V.T @ V
    inner = W @ W.T
    rows = [_row(i, inner, centre, activation, deviation, points, weights) @ mixing[i] for i in range(len(W))]
    return torch.stack(rows).sum()


def _row(
    i: int,
    inner: Tensor,
    centre: Tensor,
    activation: Callable[[Tensor], Tensor],
    deviation: float,
    points: Tensor,
    weights: Tensor,
) -> Tensor:
    r"""$\Sigma_{ij}$ for all j. R of the QR of $[w_i\; w_j]$ is (|w_i|, <w_i, w_j>/|w_i|; 0, rest)."""
    length = _root(inner[i, i], inner.new_zeros(()))
    along = inner[i] / length.clamp_min(torch.finfo(inner.dtype).tiny)
    across = _root(inner.diagonal() - along.square(), torch.finfo(inner.dtype).eps * inner.diagonal())
    a_i = centre[i] + deviation * length * points
    shift = points[:, None] * along[:, None, None] + points[None, :] * across[:, None, None]  # (hidden, nodes, nodes)
    a_j = centre[:, None, None] + deviation * shift
    expected = torch.einsum("s,t,s,jst->j", weights, weights, _slope(activation, a_i), _slope(activation, a_j))
    return inner[i] * expected


def _slope(activation: Callable[[Tensor], Tensor], a: Tensor) -> Tensor:
    tangent: Tensor = forward_mode(activation, (a,), (torch.ones_like(a),))[1]
    return tangent if torch.is_grad_enabled() else tangent.detach()


def _root(square: Tensor, rounding: Tensor) -> Tensor:
    """The square root with derivative zero where it is zero up to rounding, where only even powers of it matter."""
    positive = square > rounding
    return torch.where(
        positive, torch.where(positive, square, torch.ones_like(square)).sqrt(), torch.zeros_like(square)
    )


def _gauss_hermite(nodes: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights for the standard normal distribution."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return (
        torch.as_tensor(points, dtype=like.dtype, device=like.device),
        torch.as_tensor(weights / math.sqrt(2 * math.pi), dtype=like.dtype, device=like.device),
    )
