"""Data in the plane that were drawn from known curves: moons, circles, blobs, spirals, a noisy line."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from holomorph._utils.seeding import generator
from holomorph.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class Planar:
    """Samples in the plane with the curve they were drawn from.

    Attributes
    ----------
    x, y:
        Samples (n, 2) in [-2, 2]^2 up to noise, float64, and labels (n,).
    curve:
        Points of the curve, (points, 2), fine enough to draw; for blobs the segments between the centres.
    tangent:
        Its unit tangents there, (points, 2).
    bounded:
        Whether one class surrounds the other: then no pluriharmonic boundary separates them under pairing.
    """

    name: str
    x: Tensor
    y: Tensor
    curve: Tensor
    tangent: Tensor
    bounded: bool = False

    @property
    def classes(self) -> int:
        """How many."""
        return int(self.y.max()) + 1


_Curve = Callable[..., Tensor]


def _moons(t: Tensor, label: Tensor) -> Tensor:
    """Two interleaved half circles of radius 1, shifted so that their common centre is the origin."""
    angle = math.pi * t
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], -1)
    return torch.where(label[..., None] == 0, upper, -upper)


def _circles(t: Tensor, label: Tensor) -> Tensor:
    """Concentric circles of radius 1.5 and 0.6."""
    radius = torch.where(label == 0, 1.5, 0.6)
    return radius[..., None] * torch.stack([(2 * math.pi * t).cos(), (2 * math.pi * t).sin()], -1)


def _blobs(t: Tensor, label: Tensor) -> Tensor:
    """Three centres on a circle of radius 1.3; the curve leads from the origin to each."""
    angle = 2 * math.pi * label / 3 + math.pi / 2
    radius = 1.3 * torch.ones_like(t)
    return radius[..., None] * torch.stack([angle.cos(), angle.sin()], -1)


def _spokes(t: Tensor, label: Tensor) -> Tensor:
    return t[..., None] * _blobs(t, label)


def _spirals(t: Tensor, label: Tensor) -> Tensor:
    """Two arms of one and a quarter turns."""
    angle = 2.5 * math.pi * t.sqrt() + math.pi * label
    radius = 0.25 + 1.5 * t.sqrt()
    return radius[..., None] * torch.stack([angle.cos(), angle.sin()], -1)


def _line(t: Tensor, label: Tensor) -> Tensor:
    """One wave from left to right; the label changes in its middle."""
    along = torch.where(label == 0, -0.1 - 1.7 * t, 0.1 + 1.7 * t)
    return torch.stack([along, 0.5 * (1.5 * along).sin()], -1)


_SETS: dict[str, tuple[_Curve, _Curve, int, float]] = {  # where samples lie, what is drawn, classes, noise
    "moons": (_moons, _moons, 2, 0.1),
    "circles": (_circles, _circles, 2, 0.1),
    "blobs": (_blobs, _spokes, 3, 0.3),
    "spirals": (_spirals, _spirals, 2, 0.05),
    "line": (_line, _line, 2, 0.1),
}

PLANAR_SETS = tuple(_SETS)


def planar(name: str, samples: int = 200, *, noise: float | None = None, seed: int = 0) -> Planar:
    """Draw one of the sets: points of its curve, uniform in the parameter, plus Gaussian noise.

    Parameters
    ----------
    name:
        ``"moons"``, ``"circles"``, ``"blobs"``, ``"spirals"`` or ``"line"``.
    samples:
        How many, the classes in turn.
    noise:
        Its standard deviation; None takes the set's own.

    Raises
    ------
    ConfigError
        For an unknown name, or fewer samples than classes.

    >>> planar("circles", 10).x.shape
    torch.Size([10, 2])
    """
    if name not in _SETS:
        raise unknown_name("planar data set", name, PLANAR_SETS)
    place, drawn, classes, usual = _SETS[name]
    if samples < classes:
        raise ConfigError(f"{name} has {classes} classes; ask for at least as many samples, not {samples}.")
    source = generator(seed, f"planar/{name}")
    y = torch.arange(samples) % classes
    t = torch.rand(samples, generator=source, dtype=torch.float64)
    spread = usual if noise is None else noise
    x = place(t, y) + spread * torch.randn(samples, 2, generator=source, dtype=torch.float64)
    curve, tangent = _traced(drawn, classes)
    return Planar(name, x, y, curve, tangent, bounded=name == "circles")


def _traced(curve: _Curve, classes: int, points: int = 400) -> tuple[Tensor, Tensor]:
    t = torch.linspace(1e-3, 1, points, dtype=torch.float64)
    places, tangents = [], []
    for label in range(classes):
        labels = torch.full((points,), label)
        place, slope = torch.func.jvp(partial(curve, label=labels), (t,), (torch.ones_like(t),))[:2]
        places.append(place)
        tangents.append(slope / slope.norm(dim=1, keepdim=True))
    return torch.cat(places), torch.cat(tangents)
