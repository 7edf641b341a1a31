r"""Certified radii by moving a function of the Fock space: its expansion around the sample instead of the centre.

The Fock space (weight $e^{-|z|^2}/\pi^m$) has no distinguished point: Weyl's operators

$$(W_x g)(u) = e^{-\langle u, x\rangle - |x|^2/2}\, g(x + u)$$

are unitary. For real x and u the factor is positive, so that g(x + u) and $G = W_x g$ at u have the same sign. With
$G_k$ the part of degree k, $|G|_F^2 = \sum_k |G_k|_F^2 = |g|_F^2$ and $|G_k(u)| \le |G_k|_F |u|^k/\sqrt{k!}$; constant
and linear part are known, so for $|u| \le r$

$$|G(u) - G(0) - \partial G(0)u| \le
  \bigl(|g|_F^2 - |G(0)|^2 - |\partial G(0)|^2\bigr)^{1/2}\,\bigl(e^{r^2} - 1 - r^2\bigr)^{1/2},\qquad
  G(0) = e^{-|x|^2/2}g(x),\quad \partial G(0) = e^{-|x|^2/2}(\partial g(x) - g(x)\,x).$$

The norm of :class:`holomorph.exact.FockKernel` with weight lambda bounds that of the Fock space degree by degree,
$|g_k|_K^2 = (1 + \lambda k)|g_k|_F^2$. Source: docs/mathematics.md, section 6 (our derivation).
"""

import math

import torch
from torch import Tensor

from holomorph.exact.certificate import DegreeNorms, bisect, dual_slope, exponential_tail, gaps, pairwise

_ROUNDING = 1e-10  #: of the squared norm: for the differences that are taken of it


def recentred_radius(
    norms: DegreeNorms, points: Tensor, scores: Tensor, gradients: Tensor, offsets: Tensor, *, p: float = 2.0
) -> Tensor:
    r"""The radius up to which the winning score provably stays ahead, by the expansion around each sample.

    Parameters
    ----------
    norms:
        From :func:`holomorph.exact.certificate.degree_norms`, of the scores without their offsets.
    points:
        Real x, (batch, n).
    scores:
        (batch, scores), with offsets.
    gradients:
        (batch, scores, n).
    offsets:
        (scores,): the constants in the scores, whose norm in the Fock space is their size.
    p:
        1, 2 or infinity, as in :func:`holomorph.exact.certificate.certified_radius`.

    Returns
    -------
    (batch,) radii in the units of x, rounded down. Neither this nor the expansion around the centre is always larger.
    """
    winner, gap, runner_up = gaps(scores)
    rows = torch.arange(len(scores))
    lengths = torch.linalg.vector_norm(points, dim=1)
    damp = torch.exp(-lengths.square() / 2)[:, None]
    gap = gap * damp
    spread = (gradients[rows, winner][:, None, :] - gradients) * damp[..., None] - gap[..., None] * points[:, None, :]
    whole = _fock_norms(norms)[winner] + (offsets[winner][:, None] - offsets).abs()
    known = gap.square() + spread.square().sum(2)
    rest = (whole.square() * (1 + _ROUNDING) - known).clamp_min(0).sqrt()
    slope = dual_slope(spread, p)
    stretch = math.sqrt(points.shape[1]) if p == math.inf else 1.0
    offset_sizes = 4 * torch.finfo(scores.dtype).eps * offsets.abs().max()

    def holds(r: Tensor) -> Tensor:
        square = (stretch * r[:, None]).square()
        bound = slope * r[:, None] + rest * (torch.expm1(square) - square).clamp_min(0).sqrt()
        rounding = pairwise(norms.rounding(lengths + stretch * r), winner) + offset_sizes
        bound = bound + 2 * damp * torch.exp(stretch * r * lengths)[:, None] * rounding
        return ((gap > bound) | ~runner_up).all(1)

    return bisect(holds, torch.full_like(scores[:, 0], 20.0))  # e^(r^2) is finite there


def _fock_norms(norms: DegreeNorms) -> Tensor:
    """The Fock norms of the differences of the scores, (scores, scores), with what the degrees left out."""
    degrees = torch.arange(len(norms.gram), dtype=norms.mass.dtype)
    square = (norms.differences().square() / (1 + norms.weight * degrees)[:, None, None]).sum(0)
    reach = torch.tensor(norms.reach**2, dtype=norms.mass.dtype)
    mass = norms.mass[:, None] + norms.mass
    return square.sqrt() + mass * exponential_tail(reach, len(degrees)).sqrt()
