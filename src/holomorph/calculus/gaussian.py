r"""The Dirichlet energy of one hidden layer under a Gaussian weight, in closed form."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from holomorph.calculus.elementary import forward_mode
from holomorph.errors import ConfigError, DomainError, ModelError


class Quadrature(NamedTuple):
    """An integral with its error.

    Attributes
    ----------
    value:
        A scalar that carries a graph for the parameters.
    error:
        An estimate of the absolute error: what the last doubling of the points changed, and the share of the tails.
    """

    value: Tensor
    error: float


_LARGEST = 1024  #: points in each direction
_REACH = 12.0  #: standard deviations; what lies beyond weighs 1e-32


def gaussian_energy(
    layer1: nn.Linear,
    activation: Callable[[Tensor], Tensor],
    layer2: nn.Linear,
    *,
    mean: Tensor | None = None,
    deviation: float = 1.0,
    tolerance: float | None = None,
) -> Quadrature:
    r"""$E_{x \sim N(\mu, \sigma^2 I)}\|\nabla h(x)\|_F^2$ for $h = V^\top\phi(W^\top x + b) + c$, and its error.

    $$D = \operatorname{tr}(V^\top \Sigma V),\qquad
      \Sigma_{ij} = \langle w_i, w_j\rangle\, E[\phi'(a_i)\,\phi'(a_j)]$$

    with $(a_i, a_j)$ bivariate normal. Each pair has its own orthonormal frame, the QR factors of $[w_i\; w_j]$, in
    which $a_i$ depends on the first normal coordinate alone; the trapezoidal rule in two dimensions does the rest, all
    pairs of a row at once. For an integrand that is analytic in a strip of half-width d its error falls like
    $e^{-2\pi d/\text{step}}$, however near to parallel the weights are (Gauss-Hermite quadrature, whose nodes lie
    further apart the more of them there are, needs the square of that number). The points are doubled until the
    result is stable.

    Assumes one hidden layer (summed over the layers of a deeper network it is not its energy) and a smooth
    elementwise activation. Differentiable in the parameters.

    Parameters
    ----------
    mean, deviation:
        Of the weight, in input units; (n,), zero by default, and a positive number.
    tolerance:
        What counts as stable, relative to the energy: by default $\sqrt\epsilon$, $\epsilon$ the precision.

    Raises
    ------
    DomainError
        Where 1,024 points in each direction do not settle it: weights of large norm, or an activation with kinks.

    Source: docs/mathematics.md, section 2. The trapezoidal rule: Trefethen and Weideman, SIAM Review 56 (2014).

    Examples
    --------
    >>> first, last = nn.Linear(3, 2), nn.Linear(2, 1)
    >>> exact = (last.weight @ first.weight).square().sum()  # a linear network: |VW|_F^2
    >>> bool(torch.isclose(gaussian_energy(first, lambda a: a, last).value, exact))
    True
    """
    if layer2.in_features != layer1.out_features:
        raise ModelError(f"The layers do not fit: {layer1.out_features} hidden units, then {layer2.in_features}.")
    if not deviation > 0:
        raise ConfigError(f"deviation must be positive, not {deviation}.")
    goal = torch.finfo(layer1.weight.dtype).eps ** (1 / 2) if tolerance is None else tolerance
    points, previous = 16, math.inf
    longest = 2 * _REACH * deviation * float(torch.linalg.vector_norm(layer1.weight.detach(), dim=1).max())
    while points < min(longest / 4, _LARGEST / 2):  # longer steps of the pre-activation could miss where it bends
        points *= 2
    while points < _LARGEST:
        points *= 2
        with torch.no_grad():
            value, inner = (float(v) for v in _energies(layer1, activation, layer2, mean, deviation, points))
        error = abs(value - previous) + abs(value - inner) if longest > 0 else 0.0
        if error <= goal * abs(value):
            return Quadrature(_energies(layer1, activation, layer2, mean, deviation, points)[0], error)
        previous = value
    raise DomainError(
        f"The Gaussian energy does not settle: {points} points in each direction still change it by {error:.2g} of "
        f"{value:.4g}. Use a smaller deviation or weights, a smooth activation, or dirichlet_energy on drawn points."
    )


def _energies(
    layer1: nn.Linear,
    activation: Callable[[Tensor], Tensor],
    layer2: nn.Linear,
    mean: Tensor | None,
    deviation: float,
    points: int,
) -> tuple[Tensor, Tensor]:
    """The energy by so many points in each direction, and without the outer quarter of them."""
    W: Tensor = layer1.weight
    V: Tensor = layer2.weight
    centre = W.new_zeros(len(W)) if layer1.bias is None else layer1.bias + 0
    if mean is not None:
        centre = centre + W @ mean
    places = torch.linspace(-_REACH, _REACH, points, dtype=W.dtype, device=W.device)
    weights = torch.exp(-places.square() / 2)
    weights = weights / weights.sum()
    masses = torch.stack([weights, torch.where(places.abs() < 0.75 * _REACH, weights, 0.0)])
    mixing = V.T @ V
    inner = W @ W.T
    rows = [mixing[i] @ _row(i, inner, centre, activation, deviation, places, masses) for i in range(len(W))]
    whole, without = torch.stack(rows).sum(0)
    return whole, without


def _row(
    i: int,
    inner: Tensor,
    centre: Tensor,
    activation: Callable[[Tensor], Tensor],
    deviation: float,
    points: Tensor,
    masses: Tensor,
) -> Tensor:
    r"""$\Sigma_{ij}$ for all j and both masses, (hidden, 2).

    R of the QR of $[w_i\; w_j]$ is (|w_i|, <w_i, w_j>/|w_i|; 0, rest).
    """
    length = _root(inner[i, i], inner.new_zeros(()))
    along = inner[i] / length.clamp_min(torch.finfo(inner.dtype).tiny)
    across = _root(inner.diagonal() - along.square(), torch.finfo(inner.dtype).eps * inner.diagonal())
    a_i = centre[i] + deviation * length * points
    weighted = masses * _slope(activation, a_i)
    expected = []
    for j in range(len(inner)):  # one pair at a time: the grids of a whole row would not fit at many points
        a_j = centre[j] + deviation * (points[:, None] * along[j] + points * across[j])
        expected.append(torch.einsum("ms,mt,st->m", weighted, masses, _slope(activation, a_j)))
    return inner[i][:, None] * torch.stack(expected)


def _slope(activation: Callable[[Tensor], Tensor], a: Tensor) -> Tensor:
    tangent: Tensor = forward_mode(activation, (a,), (torch.ones_like(a),))[1]
    return tangent if torch.is_grad_enabled() else tangent.detach()


def _root(square: Tensor, rounding: Tensor) -> Tensor:
    """The square root with derivative zero where it is zero up to rounding, where only even powers of it matter."""
    positive = square > rounding
    return torch.where(
        positive, torch.where(positive, square, torch.ones_like(square)).sqrt(), torch.zeros_like(square)
    )
