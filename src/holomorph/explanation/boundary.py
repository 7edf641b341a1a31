r"""The decision boundary's shape at the points nearest to the samples, and how it lies to the samples' manifold.

With m the margin, n its unit gradient and P the projection off n, the boundary's curvatures are the eigenvalues of
$-P\,\nabla^2 m\,P / |\nabla m|$: positive where the boundary bends around the sample, as a sphere around its inside.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from holomorph._utils.progress import track
from holomorph._utils.seeding import generator
from holomorph._utils.statistics import Array, bootstrap
from holomorph.calculus.derivatives import hessian_vector, input_gradient, probe
from holomorph.calculus.norms import norm, per_sample
from holomorph.contract import Differentiable
from holomorph.contract.classifier import margin as observed
from holomorph.errors import DataError
from holomorph.explanation.margins import analytic
from holomorph.records.base import Interval
from holomorph.records.explanation import Boundary
from holomorph.threats import ThreatModel

_PROBES, _POWER = 8, 8


def boundary(
    model: Differentiable,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    reference: Tensor | None = None,
    neighbours: int = 10,
    batch_size: int = 250,
    seed: int = 0,
) -> Boundary:
    r"""Measure curvature at the nearest boundary points and the share of the normal that lies along the manifold.

    The nearest point is the analytic margin's in l_2. The tangent space at a sample is spanned by the differences to
    its nearest ``neighbours`` in ``reference``; the share is $|P_T n|^2$ for the unit normal n, whose chance value is
    dim T / n. Near 1, crossing the boundary means moving along the manifold, to samples that look different; near 0
    the boundary runs parallel to the manifold and is crossed by leaving it.

    Parameters
    ----------
    model, x, y, threat:
        Logits (batch, K); samples; labels; the threat gives the box.
    reference:
        More samples of the same kind, for the neighbours; x itself unless given.

    Raises
    ------
    DataError
        If no sample is classified correctly, or there are too few for the neighbours.

    Source: docs/mathematics.md, section 4 (geometry); our derivation.
    """
    pool = x if reference is None else reference
    if len(pool) <= neighbours:
        raise DataError(f"{neighbours} neighbours need more than {neighbours} samples, not {len(pool)}.")
    limits = ThreatModel(2, 1.0, threat.box)
    draws = generator(seed, "boundary")
    columns: list[Array] = []
    for i in track(range(0, len(x), batch_size), "boundary"):
        part, labels = x[i : i + batch_size], y[i : i + batch_size]
        near = analytic(model, part, labels, limits, runners_up=3, expansions=12)
        keep = (near.distance > 0) & torch.isfinite(near.distance)
        if keep.any():
            columns.append(_shape(model, part[keep], labels[keep], near.point[keep], pool, neighbours, draws))
    if not columns:
        raise DataError("No sample is classified correctly with a boundary in reach: there is nothing to measure.")
    mean, largest, distance, share = np.concatenate(columns, 1)
    return Boundary(
        points=len(mean),
        mean_curvature=_median(mean, seed),
        largest_curvature=_median(largest, seed),
        distance=_median(distance, seed),
        tangent_share=bootstrap(lambda v: float(v.mean()), share, seed=seed),
        chance=min(1.0, neighbours / x[0].numel()),
        neighbours=neighbours,
    )


def curvatures(
    model: Differentiable, point: Tensor, y: Tensor, draws: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return mean curvature, largest |principal curvature| and unit normal at points of the boundary.

    The mean by Hutchinson probes in the tangent plane, the largest by power iteration: a lower estimate.

    Examples
    --------
    >>> circle = lambda x: torch.stack([torch.full((len(x),), 4.0).double(), x.square().sum(1)], 1)
    >>> point, y = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([0])
    >>> mean, largest, _ = curvatures(circle, point, y, torch.Generator().manual_seed(0))
    >>> mean, largest  # inside a circle of radius 2
    (tensor([0.5000], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """

    def margin(z: Tensor) -> Tensor:
        return observed(model(z), y)

    with torch.no_grad():
        gradient = input_gradient(margin, point)
        length = norm(gradient, 2.0).clamp_min(torch.finfo(point.dtype).tiny)
        normal = gradient / per_sample(length, point)
        dimension = point[0].numel() - 1
        traces = []
        for _ in range(_PROBES):
            v = _tangent(probe(point, draws), normal)
            v = v / per_sample(norm(v, 2.0), v)
            traces.append(-(v * hessian_vector(margin, point, v)).flatten(1).sum(1) / length)
        for _ in range(_POWER):
            v = _tangent(hessian_vector(margin, point, v), normal)
            size = norm(v, 2.0)
            v = v / per_sample(size.clamp_min(torch.finfo(point.dtype).tiny), v)
    mean = torch.stack(traces).mean(0) if dimension > 0 else torch.zeros_like(length)
    return mean, size / length, normal


def tangent_share(normal: Tensor, x: Tensor, pool: Tensor, neighbours: int) -> Tensor:
    r"""Return $|P_T n|^2$, T spanned by the differences from x to its nearest neighbours in the pool; (batch,).

    >>> pool = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [9.0, 9.0, 9.0]])
    >>> normal = torch.tensor([[0.6, 0.0, 0.8]])
    >>> tangent_share(normal, pool[:1], pool, 2)
    tensor([0.3600])
    """
    flat, cloud = x.flatten(1), pool.flatten(1)
    distance = torch.cdist(flat, cloud, compute_mode="donot_use_mm_for_euclid_dist")  # the quick way misses zeros
    distance = distance.masked_fill(distance <= 1e-6 * flat.shape[1] ** 0.5, torch.inf)  # x itself and its copies
    nearest = distance.topk(neighbours, dim=1, largest=False).indices
    differences = cloud[nearest] - flat[:, None]
    basis, spread, _ = torch.linalg.svd(differences.mT, full_matrices=False)  # (batch, n, neighbours)
    rounding = max(differences.shape[1:]) * torch.finfo(spread.dtype).eps * spread.amax(1, keepdim=True)
    shares = (basis.mT @ normal.flatten(1)[:, :, None]).square().squeeze(2)
    return (shares * (spread > rounding)).sum(1)  # neighbours on a line or a plane span no more than that


def _shape(
    model: Differentiable, x: Tensor, y: Tensor, point: Tensor, pool: Tensor, neighbours: int, draws: torch.Generator
) -> Array:
    mean, largest, normal = curvatures(model, point, y, draws)
    share = tangent_share(normal, x, pool, neighbours)
    return np.asarray(torch.stack([mean, largest, norm(point - x, 2.0), share]).cpu().double().numpy())


def _tangent(v: Tensor, normal: Tensor) -> Tensor:
    return v - per_sample((v * normal).flatten(1).sum(1), v) * normal


def _median(values: Array, seed: int) -> Interval:
    median: Callable[[Array], float] = lambda v: float(np.median(v))  # noqa: E731
    return bootstrap(median, values, seed=seed)
