r"""Certified radii of functions in the Fock space: no perturbation below them changes the decision.

Write $h = \sum_k h_k$ by degree, $c_k = 1/(k!(1 + \lambda k))$ and $a = |x|$. Since $\langle x, w\rangle^k =
\langle x^{\otimes k}, w^{\otimes k}\rangle$, every $h_k$ is a linear function of $x^{\otimes k}$ with norm
$|h_k|_K\sqrt{c_k}$, and for $|\delta| \le r$ the terms of $(x + \delta)^{\otimes k}$ that hold j factors $\delta$
have norm at most $\binom kj a^{k-j} r^j$. Hence, in real and complex Hilbert spaces alike,

$$|h(x+\delta) - h(x) - \partial h(x)\delta| \le \sum_k |h_k|_K \sqrt{c_k}\,[(a+r)^k - a^k - k a^{k-1} r]
\qquad\text{(order 1)}$$
$$|h(x+\delta) - h(x)| \le |h|_K\,|k_x - k_{x+\delta}|_K \le |h|_K\Bigl(\sum_k c_k [(a+r)^k - a^k]^2\Bigr)^{1/2}
\qquad\text{(order 0)}$$

Order 1 uses the exact gradient and only bounds what lies beyond it: it is never smaller than order 0. Both are
our derivation. Source: docs/mathematics.md, section 6.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from holomorph.errors import ConfigError
from holomorph.nn.embedding import Embedding

_BISECTIONS = 50


@dataclass(frozen=True)
class DegreeNorms:
    r"""The scores' norms by degree: ``gram[k, i, j]`` is the inner product of $h_{i,k}$ and $h_{j,k}$.

    Attributes
    ----------
    gram:
        (degrees, scores, scores), Hermitian and positive in the last two axes.
    mass:
        (scores,): $\sum_i |\alpha_i|$, for the degrees that were not computed.
    reach:
        The largest $|z_i|$.
    weight:
        lambda.
    sizes:
        (degrees, scores): $\sum_i |\alpha_i| |z_i|^k/\sqrt{k!}$, what rounding works on.
    terms:
        How many terms a score is the sum of.
    """

    gram: Tensor
    mass: Tensor
    reach: float
    weight: float
    sizes: Tensor
    terms: int

    def rounding(self, lengths: Tensor) -> Tensor:
        r"""A bound on the rounding of the scores at points of these lengths: (batch, scores).

        Each score is a sum of ``terms`` products $\alpha_i K(x, z_i)$ with $|K(x, z)| \le e^{|x||z|}$; the kernel's own
        error is a few hundred units in the last place, and more by $|x||z|$ for the rounding of the inner product.
        """
        degrees = torch.arange(len(self.sizes), dtype=lengths.dtype)
        eps = torch.finfo(lengths.dtype).eps
        largest = root_powers(lengths[:, None], degrees) @ self.sizes
        beyond = self.mass * exponential_tail(self.reach * lengths, len(degrees))[:, None]
        return eps * (self.terms + 256 + 8 * self.reach * lengths)[:, None] * (largest + beyond)

    def differences(self) -> Tensor:
        """$|h_{i,k} - h_{j,k}|_K$: (degrees, scores, scores)."""
        own = self.gram.diagonal(dim1=1, dim2=2).real
        square = own[:, :, None] + own[:, None, :] - 2 * self.gram.real
        return square.clamp_min(0).sqrt()


def degree_norms(points: Tensor, coefficients: Tensor, weight: float) -> DegreeNorms:
    r"""Split $h_j = \sum_i \alpha_{ij} k_{z_i}$ by degree.

    $\langle h_{i,k}, h_{j,k}\rangle = \alpha_i^H c_k G^{\circ k} \alpha_j$, with G the matrix of inner products.

    Parameters
    ----------
    points:
        z_i, (samples, m), real or complex.
    coefficients:
        alpha, (samples, scores).
    weight:
        lambda.

    Degrees are computed until what is left is below 1e-12 of the whole at twice the points' reach; the rest is
    bounded in :func:`certified_radius`. A rounding allowance is added to every square, so that the norms
    err on the large side.
    """
    reach = float(torch.linalg.vector_norm(points, dim=1).max()) if len(points) else 0.0
    count = _degrees(2 * reach**2)
    lengths = torch.linalg.vector_norm(points, dim=1)
    coefficients = coefficients.to(torch.promote_types(points.dtype, coefficients.dtype))
    grams = torch.zeros(count, coefficients.shape[1], coefficients.shape[1], dtype=coefficients.dtype)
    for start in range(0, len(points), 1024):
        rows = slice(start, start + 1024)
        inner = points[rows] @ points.mH
        term = torch.ones_like(inner)  # inner^k / k!, neither of which would stay finite alone
        for k in range(count):
            part = coefficients[rows].mH @ (term.to(coefficients.dtype) @ coefficients)
            grams[k] += part / (1 + weight * k)
            term = term * inner / (k + 1)
    size, sizes = coefficients.abs(), []
    for k in range(count):
        sizes.append(size.sum(0))
        allowance = 64 * torch.finfo(lengths.dtype).eps * size.sum(0).square() / (1 + weight * k)
        grams[k] += torch.diag(allowance).to(grams.dtype)
        size = size * (lengths / math.sqrt(k + 1))[:, None]
    return DegreeNorms(grams, coefficients.abs().sum(0), reach, weight, torch.stack(sizes), len(points))


def certified_radius(
    norms: DegreeNorms, lengths: Tensor, scores: Tensor, gradients: Tensor, *, p: float = 2.0, order: int = 1
) -> Tensor:
    r"""The radius up to which the winning score provably stays ahead of every runner-up.

    Parameters
    ----------
    norms:
        From :func:`degree_norms`.
    lengths:
        |x|, (batch,).
    scores:
        (batch, scores), real.
    gradients:
        Real gradients of the scores, (batch, scores, n).
    p:
        Norm of the perturbation, 1, 2 or infinity. The gradient enters by the dual norm, the remainder through
        $|\delta|_2 \le |\delta|_1$ and $|\delta|_2 \le \sqrt n |\delta|_\infty$: the radius for 1 is at least
        that for 2.
    order:
        1, or 0 for the bound by $|h|_K |k_x - k_{x'}|_K$ alone.

    Returns
    -------
    (batch,) radii in the units of x; found by bisection on a bound that grows with r, rounded down. The bound
    includes the rounding of the scores themselves, at the sample and at the far end.

    Raises
    ------
    ConfigError
        For another norm or order.
    """
    if p not in (1.0, 2.0, math.inf) or order not in (0, 1):
        raise ConfigError("Certificates are for p = 1, 2 or infinity and of order 0 or 1.")
    winner, gap, runner_up = gaps(scores)
    slope = dual_slope(gradients[torch.arange(len(scores)), winner][:, None, :] - gradients, p)
    stretch = math.sqrt(gradients.shape[2]) if p == math.inf else 1.0
    beyond = _remainder(norms, winner, lengths, order)

    def holds(r: Tensor) -> Tensor:
        bound = beyond(r * stretch) + (slope * r[:, None] if order == 1 else 0.0)
        bound = bound + 2 * pairwise(norms.rounding(lengths + r * stretch), winner)
        return ((gap > bound) | ~runner_up).all(1)

    return bisect(holds, torch.full_like(lengths, float(lengths.max()) + norms.reach + 10.0))


def through_codes(
    outputs: Tensor, derivative: Tensor, codes: Tensor, embedding: Embedding
) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
    r"""Scores $\mathrm{Re}\langle h, c_k\rangle - |c_k|^2/2$, highest for the nearest code, and their gradients.

    Parameters
    ----------
    outputs:
        h, (batch, outputs).
    derivative:
        The complex derivative, (batch, outputs, m).
    codes:
        (classes, outputs).
    embedding:
        That of the inputs; being an isometry, its inverse takes gradients back to the inputs' own coordinates, whose
        sums and maxima the norms other than l_2 are.

    Returns
    -------
    Scores (batch, classes), gradients (batch, classes, n), and the map that turns coefficients (.., outputs) of h
    into those of the scores.
    """
    readout = codes.conj().mT
    if readout.is_complex() and bool((readout.imag == 0).all()):
        readout = readout.real

    def combine(coefficients: Tensor) -> Tensor:
        dtype = torch.promote_types(coefficients.dtype, readout.dtype)
        return coefficients.to(dtype) @ readout.to(dtype)

    scores = combine(outputs).real - codes.abs().square().sum(1) / 2
    slope = combine(derivative.mT).mT
    gradients = torch.unflatten(embedding.inverse(slope.conj().flatten(0, 1)), 0, slope.shape[:2])
    return scores, gradients, combine


def _remainder(norms: DegreeNorms, winner: Tensor, lengths: Tensor, order: int) -> Callable[[Tensor], Tensor]:
    pairs = norms.differences()[:, winner, :]  # (degrees, batch, scores)
    whole = pairs.square().sum(0).sqrt()
    degrees = torch.arange(len(pairs), dtype=lengths.dtype)
    energy = (1 + norms.weight * degrees).sqrt()
    a = lengths[:, None]
    mass = norms.mass[winner][:, None] + norms.mass[None, :]

    def beyond(r: Tensor) -> Tensor:
        b = a + r[:, None]
        growth = (root_powers(b, degrees) - root_powers(a, degrees)) / energy
        tail = mass * exponential_tail(norms.reach * b, len(degrees))
        if order == 0:
            tail_growth = exponential_tail(b * b, len(degrees))
            distance = growth.square().sum(1, keepdim=True) + tail_growth
            own_tail = mass * exponential_tail(torch.full_like(b, norms.reach**2), len(degrees)).sqrt()
            return (whole + own_tail) * distance.sqrt()
        below = root_powers(a, degrees, (degrees - 1).clamp_min(0))
        curve = growth - degrees * below / energy * r[:, None]
        rounding = torch.finfo(a.dtype).eps * len(degrees) * root_powers(b, degrees) / energy
        return torch.einsum("bk,kbj->bj", curve.clamp_min(0) + rounding, pairs) + tail

    return beyond


def root_powers(t: Tensor, degrees: Tensor, exponents: Tensor | None = None) -> Tensor:
    r"""$t^e/\sqrt{k!}$, e = k by default, by logarithms: neither stays finite alone."""
    return torch.exp(torch.xlogy(degrees if exponents is None else exponents, t) - torch.lgamma(degrees + 1) / 2)


def pairwise(each: Tensor, winner: Tensor) -> Tensor:
    """What belongs to the winner plus what belongs to each score, (batch, scores)."""
    return each.gather(1, winner[:, None]) + each


def gaps(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The winner of each sample, how far it is ahead of each score, and which of these are its runners-up."""
    winner = scores.argmax(1, keepdim=True)
    gap = scores.gather(1, winner) - scores
    return winner[:, 0], gap, torch.ones_like(gap, dtype=torch.bool).scatter_(1, winner, False)


def dual_slope(gradients: Tensor, p: float) -> Tensor:
    """The dual norm of gradients (..., n), the steepest change for a perturbation of p-norm one."""
    return torch.linalg.vector_norm(gradients, ord={1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[p], dim=-1)


def bisect(holds: Callable[[Tensor], Tensor], high: Tensor) -> Tensor:
    """The largest radius, up to ``high``, that holds, of a condition that fails beyond some radius; rounded down."""
    low = torch.zeros_like(high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        good = holds(middle)
        low, high = torch.where(good, middle, low), torch.where(good, high, middle)
    return low * (1 - 1e-9)


def _degrees(size: float) -> int:
    """The least count with size^count / count! below 1e-12, past the largest term."""
    count = max(2, math.ceil(size))
    while size > 0 and count * math.log(size) - math.lgamma(count + 1) > math.log(1e-12):
        count += 1
    return count


def exponential_tail(t: Tensor, count: int) -> Tensor:
    """An upper bound of the sum of t^k / k! over k >= count."""
    term = torch.exp(count * t.clamp_min(1e-300).log() - math.lgamma(count + 1))
    ratio = t / (count + 1)
    return torch.where(ratio < 0.5, 2 * term, torch.exp(t))
