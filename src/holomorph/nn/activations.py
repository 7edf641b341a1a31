r"""Holomorphic activations: entire ones, and meromorphic ones with their poles.

Every activation acts as $z \mapsto s\,\sigma(z/s)$ coordinate by coordinate. By Liouville none is bounded: sin grows
like $e^{|\mathrm{Im}\,z|/s}$, erf like $e^{(\mathrm{Im}\,z/s)^2}$; a larger ``scale`` s keeps the growth in hand, and
an overflow is an error that names the activation. Source: docs/mathematics.md, section 4.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from holomorph.calculus import special
from holomorph.errors import ConfigError, DomainError, unknown_name


class HolomorphicActivation(nn.Module, ABC):
    """A holomorphic function of each coordinate.

    Parameters
    ----------
    scale:
        s > 0; values larger than one flatten the function and slow its growth.

    Raises
    ------
    DomainError
        In evaluation, if the result overflows or a pole is nearer than ``scale * 1e-6``.
    """

    #: Holomorphic on all of C, without poles.
    entire = True

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ConfigError(f"The scale of an activation must be positive, not {scale}.")
        self.scale = scale

    @abstractmethod
    def function(self, z: Tensor) -> Tensor:
        """Sigma itself, unscaled."""

    def unit_pole_distance(self, z: Tensor) -> Tensor:
        """Distance to the nearest pole of sigma; infinite for entire functions."""
        return torch.full_like(z.real, math.inf)

    def pole_distance(self, z: Tensor) -> Tensor:
        """Distance of each coordinate to the nearest pole, real, in the shape of z."""
        return self.scale * self.unit_pole_distance(z / self.scale)

    def forward(self, z: Tensor) -> Tensor:
        """Apply the activation, and refuse poles and overflow; a compiled or exported program waits for no answer."""
        if torch.compiler.is_compiling():
            return self.scale * self.function(z / self.scale)
        if not self.entire and float(self.unit_pole_distance(z.detach() / self.scale).min()) < 1e-6:
            raise DomainError(
                f"{type(self).__name__} was evaluated at a pole. Use a larger scale or an entire function."
            )
        image = self.scale * self.function(z / self.scale)
        if not bool(torch.isfinite(image.detach()).all()):
            size = float(z.detach().abs().max())
            raise DomainError(
                f"{type(self).__name__} overflowed at |z| = {size:.3g}. Use a larger scale, smaller weights, "
                f"or inputs scaled to about 1."
            )
        return image

    def extra_repr(self) -> str:
        """Show the scale."""
        return f"scale={self.scale:g}"


class Exp(HolomorphicActivation):
    """exp, entire."""

    def function(self, z: Tensor) -> Tensor:
        """Compute it."""
        return z.exp()


class Sin(HolomorphicActivation):
    """sin, entire, bounded on the real line.

    >>> Sin()(torch.tensor([0j]))
    tensor([0.+0.j])
    """

    def function(self, z: Tensor) -> Tensor:
        """Compute it."""
        return z.sin()


class Sinh(HolomorphicActivation):
    """sinh, entire, bounded on the imaginary line."""

    def function(self, z: Tensor) -> Tensor:
        """Compute it."""
        return z.sinh()


class Erf(HolomorphicActivation):
    """The error function, entire, a sigmoid on the real line."""

    def function(self, z: Tensor) -> Tensor:
        """Compute it."""
        return special.erf(z)


class Quadratic(HolomorphicActivation):
    r"""$z + c z^2$ with one learnable complex c, entire and of the slowest growth there is.

    >>> Quadratic(0.5)(torch.tensor([2.0 + 0j])).real
    tensor([4.], grad_fn=<SelectBackward0>)
    """

    def __init__(self, c: float = 0.1, scale: float = 1.0) -> None:
        super().__init__(scale)
        self.c = nn.Parameter(torch.tensor([c, 0.0]))

    def function(self, z: Tensor) -> Tensor:
        """Compute it."""
        return z + torch.complex(self.c[0], self.c[1]) * z * z


class Polynomial(HolomorphicActivation):
    r"""$\sum_{k=0}^d a_k z^k$ with learnable complex coefficients, initially $z + z^2/10$.

    >>> Polynomial(3)(torch.tensor([1.0 + 0j])).real.detach()
    tensor([1.1000])
    """

    def __init__(self, degree: int = 3, scale: float = 1.0) -> None:
        super().__init__(scale)
        if degree < 2:
            raise ConfigError(f"A polynomial activation needs degree >= 2, not {degree}: a lower one is affine.")
        start = torch.zeros(degree + 1, 2)
        start[1, 0], start[2, 0] = 1.0, 0.1
        self.coefficients = nn.Parameter(start)

    def function(self, z: Tensor) -> Tensor:
        """Compute it by Horner's rule."""
        a = torch.view_as_complex(self.coefficients)
        image = a[-1].expand(z.shape)
        for k in range(len(a) - 2, -1, -1):
            image = image * z + a[k]
        return image


class Tanh(HolomorphicActivation):
    r"""tanh, with poles at $i\pi(k + 1/2)$.

    >>> round(float(Tanh().pole_distance(torch.tensor([1j]))), 4)
    0.5708
    """

    entire = False

    def function(self, z: Tensor) -> Tensor:
        """Compute it."""
        return z.tanh()

    def unit_pole_distance(self, z: Tensor) -> Tensor:
        """Distance to the nearest pole."""
        return _to_lattice(z, math.pi / 2, math.pi)


class Sigmoid(HolomorphicActivation):
    r"""$1/(1 + e^{-z})$, with poles at $i\pi(2k + 1)$."""

    entire = False

    def function(self, z: Tensor) -> Tensor:
        """Compute it without overflow, as (1 + tanh(z/2))/2."""
        return special.sigmoid(z)

    def unit_pole_distance(self, z: Tensor) -> Tensor:
        """Distance to the nearest pole."""
        return _to_lattice(z, math.pi, 2 * math.pi)


class Rational(HolomorphicActivation):
    r"""$z/(1 + z^2)$, with poles at $\pm i$; the scale s moves them to $\pm is$."""

    entire = False

    def function(self, z: Tensor) -> Tensor:
        """Compute it."""
        return z / (1 + z * z)

    def unit_pole_distance(self, z: Tensor) -> Tensor:
        """Distance to the nearest pole."""
        return torch.minimum((z - 1j).abs(), (z + 1j).abs())


def _to_lattice(z: Tensor, offset: float, period: float) -> Tensor:
    imaginary = z.imag if z.is_complex() else torch.zeros_like(z)
    vertical = torch.remainder(imaginary - offset + period / 2, period) - period / 2
    return torch.hypot(z.real, vertical)


HOLOMORPHIC_ACTIVATIONS: dict[str, Callable[[], HolomorphicActivation]] = {
    "exp": Exp,
    "sin": Sin,
    "sinh": Sinh,
    "erf": Erf,
    "quadratic": Quadratic,
    "polynomial": Polynomial,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "rational": Rational,
}


def activation(name: str, scale: float | None = None) -> HolomorphicActivation:
    """Build an activation by name.

    >>> activation("sin", 2.0)
    Sin(scale=2)
    """
    if name not in HOLOMORPHIC_ACTIVATIONS:
        raise unknown_name("holomorphic activation", name, HOLOMORPHIC_ACTIVATIONS)
    made = HOLOMORPHIC_ACTIVATIONS[name]()
    if scale is not None:
        if not scale > 0:
            raise ConfigError(f"The scale of an activation must be positive, not {scale}.")
        made.scale = scale
    return made
