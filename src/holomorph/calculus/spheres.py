r"""What harmonic functions do on spheres: mean values, the maximum principle, Harnack's inequality."""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from holomorph.calculus.ascent import climb
from holomorph.calculus.derivatives import output_of, probe
from holomorph.calculus.norms import dual_direction, per_sample
from holomorph.calculus.one_function import one_function
from holomorph.contract import Differentiable, check_batch
from holomorph.errors import ConfigError, DomainError, HolomorphWarning

_HARNACK_DIMENSION = 10


def mean_value_gap(
    f: Differentiable, x: Tensor, radius: float, directions: int = 64, generator: torch.Generator | None = None
) -> Tensor:
    r"""$E_{|v|=1} f(x + rv) - f(x) = \frac{r^2}{2n}\Delta f(x) + O(r^4)$; shape (batch, outputs). Zero if harmonic.

    The mean is over ``directions`` pairs $\pm v$ drawn by ``generator``, so the first-order term cancels exactly.
    Input units: radius is Euclidean, in the units of x.

    Source: docs/mathematics.md, section 3.

    >>> mean_value_gap(lambda x: x.square().sum(1), torch.ones(1, 5), radius=0.5)  # r^2
    tensor([[0.2500]])
    """
    check_batch(x)
    _check_positive("radius", radius)
    _check_positive("directions", directions)
    source = torch.default_generator if generator is None else generator
    f = one_function(f, x)
    total = torch.zeros(())
    for _ in range(directions):
        v = dual_direction(probe(x, source), 2.0) * radius
        total = total + output_of(f, x + v) + output_of(f, x - v)
    return (total / (2 * directions) - output_of(f, x)).reshape(len(x), -1)


class Violations(NamedTuple):
    """Shares of samples, in [0, 1], one for each output: judged by drawn points alone, and after ascent."""

    sampled: Tensor
    ascended: Tensor


def maximum_principle_violations(
    f: Differentiable,
    x: Tensor,
    radius: float,
    directions: int = 16,
    steps: int = 10,
    generator: torch.Generator | None = None,
) -> Violations:
    r"""The share of samples at which $f(x) > \max_{|v|=1} f(x + rv)$; zero for (sub)harmonic f.

    There are two shares. ``sampled`` takes the maximum over drawn points. That maximum is too low, so the share is too
    high. ``ascended`` goes on from the best drawn point with ``steps`` of gradient ascent on the sphere, and is never
    above the first. Pass -f for minima. The result carries no graph.

    Source: docs/mathematics.md, section 3.

    >>> maximum_principle_violations(lambda x: -x.square().sum(1), torch.zeros(2, 3), radius=1.0)
    Violations(sampled=tensor([1.]), ascended=tensor([1.]))
    """
    check_batch(x)
    _check_positive("radius", radius)
    _check_positive("directions", directions)
    source = torch.default_generator if generator is None else generator
    f = one_function(f, x)
    with torch.no_grad():
        centre = output_of(f, x).reshape(len(x), -1)
        draws = [dual_direction(probe(x, source), 2.0) for _ in range(directions)]
        values = torch.stack([output_of(f, x + radius * v).reshape(len(x), -1) for v in draws])
        sampled = values.amax(0)
        first = torch.stack(draws)[values.argmax(0).T, torch.arange(len(x), device=x.device)]  # (outputs, batch, ...)
    climbed = [_top(f, x, radius, first[k], k, steps) for k in range(centre.shape[1])]
    ascended = torch.maximum(sampled, torch.stack(climbed, 1))
    return Violations(*((centre > top).to(x.dtype).mean(0) for top in (sampled, ascended)))


@dataclass(frozen=True, eq=False)
class Sphere:
    """The Euclidean spheres of one radius around the samples, as a set in which an ascent stays."""

    x: Tensor
    radius: float

    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """The unit tangent along which the function grows fastest."""
        v = (point - self.x) / self.radius
        along = per_sample((gradient * v).flatten(1).sum(1), v)
        return dual_direction(gradient - along * v, 2.0)

    def into(self, point: Tensor) -> Tensor:
        """Back along the radius."""
        return self.x + self.radius * dual_direction(point - self.x, 2.0)


def _top(f: Differentiable, x: Tensor, radius: float, v: Tensor, output: int, steps: int) -> Tensor:
    """The best value of one output seen along an ascent on the sphere, with a shrinking angle."""

    def value(z: Tensor) -> Tensor:
        return output_of(f, z).reshape(len(x), -1)[:, output]

    lengths = [radius * (1 - step / steps) for step in range(steps)]
    return climb(value, x + radius * v, Sphere(x, radius), lengths, judge_last=False).top


def harnack_interval(value: Tensor, distance: Tensor | float, radius: float, dimension: int) -> tuple[Tensor, Tensor]:
    r"""Bounds on a positive harmonic function u at distance r from the centre of a ball of radius R > r.

    $$\frac{R^{n-2}(R-r)}{(R+r)^{n-1}}\,u(x_0) \le u(x) \le \frac{R^{n-2}(R+r)}{(R-r)^{n-1}}\,u(x_0)$$

    Assumes u harmonic and positive on the ball around $x_0$; ``value`` is $u(x_0)$. Any shapes that broadcast.

    Warns
    -----
    HolomorphWarning
        Above dimension 10, where the interval says next to nothing.

    Raises
    ------
    DomainError
        For a value that is not positive, or a distance that is not in [0, radius).

    Source: docs/mathematics.md, section 3.

    >>> low, high = harnack_interval(torch.tensor(1.0), 0.5, 1.0, dimension=2)
    >>> round(float(low), 4), round(float(high), 4)
    (0.3333, 3.0)
    """
    r = torch.as_tensor(distance, dtype=value.dtype, device=value.device)
    if bool((value <= 0).any()):
        raise DomainError(
            "Harnack's inequality is for positive functions. Add a constant that makes the value positive."
        )
    if bool((r < 0).any()) or bool((r >= radius).any()):
        raise DomainError(f"The distance must lie in [0, radius) = [0, {radius:g}). Enlarge the ball, or move closer.")
    if dimension > _HARNACK_DIMENSION:
        warnings.warn(
            f"In dimension {dimension} Harnack's interval is far too wide to say anything; it is useful up to about "
            f"{_HARNACK_DIMENSION}.",
            HolomorphWarning,
            stacklevel=2,
        )
    ratio = r / radius
    low = (1 - ratio) / (1 + ratio) ** (dimension - 1)
    high = (1 + ratio) / (1 - ratio) ** (dimension - 1)
    return low * value, high * value


def _check_positive(name: str, number: float) -> None:
    if not number > 0:
        raise ConfigError(f"{name} must be positive, not {number}.")
