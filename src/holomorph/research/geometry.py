"""The geometry of a classifier in the plane: its boundary, the angle to the data's curve, the area of images."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from holomorph.contract import Differentiable
from holomorph.errors import DataError

_BISECTIONS = 6


@dataclass(frozen=True)
class PlanarBoundary:
    """Points of a decision boundary, (n, 2), with unit normals, (n, 2)."""

    points: Tensor
    normals: Tensor


def decision_boundary(model: Differentiable, box: tuple[float, float], resolution: int = 160) -> PlanarBoundary:
    r"""Where the prediction changes, on the edges of a grid over box x box.

    On an edge between classes i and j a zero of $s_i - s_j$ is found by bisection and, within the last piece, linear
    interpolation, which is right to second order in its length; the normal is its gradient there.

    Parameters
    ----------
    model:
        (batch, 2) to scores (batch, classes), differentiable, float64.
    box:
        Low and high of both coordinates.
    resolution:
        Grid points a side.

    Source: docs/mathematics.md, section 4.

    >>> found = decision_boundary(lambda x: torch.cat([x[:, :1], -x[:, :1]], 1), (-1.0, 1.0), 10)
    >>> float(found.points[:, 0].abs().max()) < 1e-12, found.normals[0].abs().tolist()
    (True, [1.0, 0.0])
    """
    grid = grid_points(box, resolution)
    with torch.no_grad():
        scores = model(grid)
    predictions = scores.argmax(1)
    index = torch.arange(len(grid)).reshape(resolution, resolution)
    edges = torch.cat(
        [
            torch.stack([index[:, :-1].flatten(), index[:, 1:].flatten()], 1),
            torch.stack([index[:-1].flatten(), index[1:].flatten()], 1),
        ]
    )
    edges = edges[predictions[edges[:, 0]] != predictions[edges[:, 1]]]
    first, second = edges.unbind(1)
    if len(edges) == 0:
        return PlanarBoundary(grid[first], grid[first])
    rows, i, j = torch.arange(len(edges)), predictions[first], predictions[second]

    def lead(x: Tensor) -> Tensor:
        with torch.no_grad():
            at = model(x)
        return at[rows, i] - at[rows, j]

    points = _zeros(lead, grid[first], grid[second]).requires_grad_()
    at = model(points)
    (normals,) = torch.autograd.grad((at[rows, i] - at[rows, j]).sum(), points)
    length = normals.norm(dim=1, keepdim=True).clamp_min(1e-300)
    return PlanarBoundary(points.detach(), normals / length)


def _zeros(lead: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """A zero of ``lead``, positive at low and negative at high, on each segment between them: (n, 2)."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        ahead = (lead(middle) > 0)[:, None]
        low, high = torch.where(ahead, middle, low), torch.where(ahead, high, middle)
    here, there = lead(low), lead(high)
    share = (here / (here - there).clamp_min(1e-300)).clamp(0, 1)[:, None]
    return (1 - share) * low + share * high


def grid_points(box: tuple[float, float], resolution: int) -> Tensor:
    """The points of a square grid, (resolution^2, 2); the second coordinate varies along rows."""
    axis = torch.linspace(*box, resolution, dtype=torch.float64)
    down, across = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([across.flatten(), down.flatten()], 1)


def crossing_angles(boundary: PlanarBoundary, curve: Tensor, tangent: Tensor, within: float = 0.3) -> Tensor:
    r"""Angles in degrees, 0 to 90, between a boundary and the curve that the data were drawn from.

    At each boundary point nearer to the curve than ``within``: the angle between the boundary's tangent and the
    curve's tangent at its nearest point, $\arcsin|\langle n, \tau\rangle|$. 90 is a crossing at right angles; 0 runs
    along the samples, so that a short step across it changes the prediction.

    Source: docs/mathematics.md, section 4.

    >>> crossed = PlanarBoundary(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    >>> crossing_angles(crossed, torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).tolist()
    [90.0]
    """
    if len(boundary.points) == 0:
        return boundary.points.new_zeros(0)
    distance, nearest = torch.cdist(boundary.points, curve).min(1)
    close = distance < within
    sine = (boundary.normals[close] * tangent[nearest[close]]).sum(1).abs().clamp(max=1.0)
    return torch.rad2deg(torch.asin(sine))


def orthogonality(h: Differentiable, z: Tensor) -> Tensor:
    r"""The cosine between the gradients of Re h and Im h at points of C, (batch,); zero for holomorphic h.

    >>> z = torch.tensor([[1.0 + 2.0j]], dtype=torch.complex128)
    >>> orthogonality(lambda z: z**2, z).abs().item() < 1e-12
    True
    """
    z = z.detach().requires_grad_()
    value = h(z)
    (u,) = torch.autograd.grad(value.real.sum(), z, retain_graph=True)
    (v,) = torch.autograd.grad(value.imag.sum(), z)
    return (u * v.conj()).real.flatten(1).sum(1) / (u.flatten(1).norm(dim=1) * v.flatten(1).norm(dim=1))


@dataclass(frozen=True)
class DiscImage:
    """Area of the image of a disc, with multiplicity, and the energy over the disc: equal for holomorphic h."""

    area: float
    energy: float


def disc_image(h: Callable[[Tensor], Tensor], centre: complex, radius: float, nodes: int = 64) -> DiscImage:
    r"""The area theorem on one disc: $\tfrac12\oint \mathrm{Im}(\bar h\,dh) = \int_{|z - c| < r} |h'|^2\,dA$.

    The left side is geometric (the image's boundary alone, by the trapezoidal rule, spectrally accurate), the right
    one analytic (the Dirichlet energy, by Gauss-Legendre in the radius and the trapezoidal rule in the angle).

    Parameters
    ----------
    h:
        (batch, 1) complex to (batch, 1) complex, holomorphic on the closed disc.
    centre, radius:
        The disc.
    nodes:
        Points in each direction.

    Raises
    ------
    DataError
        For a radius that is not positive.

    Source: docs/mathematics.md, section 4.

    >>> found = disc_image(lambda z: z**2, 0.0, 1.0)
    >>> round(found.area / torch.pi, 6), round(found.energy / torch.pi, 6)
    (2.0, 2.0)
    """
    if not radius > 0:
        raise DataError(f"The radius of a disc must be positive, not {radius}.")
    angle = 2 * math.pi * torch.arange(nodes, dtype=torch.float64) / nodes
    ring = torch.polar(torch.ones_like(angle), angle)
    edge = (centre + radius * ring)[:, None]
    value, slope = _value_and_slope(h, edge)
    area = (value.conj() * slope * 1j * radius * ring).imag.sum() * math.pi / nodes
    place, weight = (torch.as_tensor(a) for a in _gauss(nodes))
    r = radius * (place + 1) / 2
    inside = (centre + r[:, None] * ring).reshape(-1, 1)
    _, slope = _value_and_slope(h, inside)
    shells = slope.abs().square().reshape(nodes, nodes).mean(1)
    energy = (shells * r * weight).sum() * radius / 2 * 2 * math.pi
    return DiscImage(float(area), float(energy))


def steepest_path(model: Differentiable, x: Tensor, y: Tensor, step: float = 0.02, steps: int = 100) -> Tensor:
    """Paths of steepest fall of the margin from samples (n, 2), each until it is misclassified: (steps + 1, n, 2)."""
    path = [x.detach()]
    for _ in range(steps):
        point = path[-1].clone().requires_grad_()
        scores = model(point)
        own = scores.gather(1, y[:, None])[:, 0]
        margin = own - scores.scatter(1, y[:, None], -math.inf).amax(1)
        (slope,) = torch.autograd.grad(margin.sum(), point)
        move = step * slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-300)
        path.append(torch.where((margin > 0)[:, None], point - move, point).detach())
    return torch.stack(path)


def _gauss(nodes: int) -> tuple[object, object]:
    import numpy as np

    place, weight = np.polynomial.legendre.leggauss(nodes)
    return place, weight


def _value_and_slope(h: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    z = z.detach().requires_grad_()
    value = h(z)
    (gradient,) = torch.autograd.grad(value.real.sum(), z)
    return value.detach()[:, 0], gradient[:, 0].conj()
