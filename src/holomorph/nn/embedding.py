r"""Embeddings: how real inputs become points of $\mathbb C^m$, on which a hypothesis can be holomorphic.

Both embeddings are isometries, $\|\iota(x) - \iota(x')\|_2 = \|x - x'\|_2$: an l_2 radius certified in
$\mathbb C^m$ is one in input units.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from holomorph.errors import ConfigError, DataError, unknown_name


class Embedding(nn.Module, ABC):
    """A real-linear isometry from real inputs, (batch, ...), into complex ones, with its inverse."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Embed real inputs."""

    @abstractmethod
    def inverse(self, z: Tensor) -> Tensor:
        """Return the real inputs whose image is z."""

    @abstractmethod
    def complex_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one embedded sample, given that of one real sample."""


class Complexification(Embedding):
    r"""$\mathbb R^n \subset \mathbb C^n$: $x \mapsto x + i0$.

    The imaginary part is a direction in which the hypothesis can be evaluated but in which no data lie.
    For holomorphic $h = u + iv$ the *real* gradients obey $|\nabla_x u|^2 + |\nabla_x v|^2 = |\partial h|^2$.

    *What it can separate*: everything that a real-analytic function can, closed curves included, since by
    Weierstrass the restrictions of polynomials to the reals are dense in the continuous functions on a compact set.

    Shapes: (batch, ...) real to (batch, ...) complex.

    Source: docs/mathematics.md, section 4.

    >>> Complexification()(torch.tensor([[1.0, 2.0]]))
    tensor([[1.+0.j, 2.+0.j]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Attach a zero imaginary part."""
        return torch.complex(x, torch.zeros_like(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Take the real part."""
        return z.real

    def complex_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape is unchanged."""
        return shape


class Pairing(Embedding):
    r"""$\mathbb R^{2m} = \mathbb C^m$: two real coordinates make one complex coordinate.

    For holomorphic $h = u + iv$ the gradients over all 2m real coordinates obey $|\nabla u| = |\nabla v| =
    |\partial h|$ and $\nabla u \perp \nabla v$: in the plane, boundary (u = 0) and sample curve (v = 0) cross at
    right angles wherever $h' \ne 0$.

    *What it cannot separate*: with a read-out that is pluriharmonic (Re h, or the distance to a code) two
    classes meet where a pluriharmonic function vanishes, and by the maximum principle no decision region is
    bounded: one class cannot surround the other. Take another read-out (``ModulusReadout``), or
    :class:`Complexification`.

    Parameters
    ----------
    how:
        ``"neighbours"`` pairs coordinates 2k and 2k+1 of the last axis (neighbouring pixels); ``"halves"``
        pairs the first half of the first axis after the batch with the second half.
    rotation:
        An orthogonal matrix (n, n) applied to the flattened sample first, for instance
        :func:`random_rotation`; the embedded samples are then flat.

    An axis of odd length gets one zero coordinate, which the inverse drops again.

    Raises
    ------
    ConfigError
        For an unknown way of pairing, or a rotation that is not orthogonal.

    Source: docs/mathematics.md, section 4.

    >>> Pairing()(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    tensor([[1.+2.j, 3.+4.j]])
    >>> Pairing("halves")(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    tensor([[1.+3.j, 2.+4.j]])
    """

    rotation: Tensor | None

    def __init__(self, how: Literal["neighbours", "halves"] = "neighbours", rotation: Tensor | None = None) -> None:
        super().__init__()
        if how not in ("neighbours", "halves"):
            raise unknown_name("way of pairing", how, ["neighbours", "halves"])
        self.how = how
        if rotation is not None:
            defect = (rotation.mT @ rotation - torch.eye(len(rotation), dtype=rotation.dtype)).abs().max()
            if rotation.shape[0] != rotation.shape[1] or defect > 1e-4:
                raise ConfigError(
                    "The rotation must be a square orthogonal matrix. Take one from random_rotation(dimension)."
                )
        self.register_buffer("rotation", rotation)
        self._odd: int | None = None  # the odd length that was padded, for the inverse

    @property
    def _axis(self) -> int:
        return -1 if self.how == "neighbours" else 1

    def forward(self, x: Tensor) -> Tensor:
        """Pair the coordinates."""
        if x.ndim < 2:
            raise DataError(f"Pairing expects a batch of samples, (batch, ...), not the shape {tuple(x.shape)}.")
        if self.rotation is not None:
            x = x.flatten(1) @ self.rotation.to(x.dtype).mT
        length = x.shape[self._axis]
        self._odd = length if length % 2 else None
        if self._odd is not None:
            zero = torch.zeros_like(x.narrow(self._axis, 0, 1))
            x = torch.cat([x, zero], dim=self._axis)
        if self.how == "neighbours":
            return torch.complex(x[..., 0::2].contiguous(), x[..., 1::2].contiguous())
        first, second = x.chunk(2, dim=1)
        return torch.complex(first.contiguous(), second.contiguous())

    def inverse(self, z: Tensor) -> Tensor:
        """Take the pairs apart; samples that a rotation flattened stay flat."""
        if self.how == "neighbours":
            x = torch.stack([z.real, z.imag], dim=-1).flatten(-2)
        else:
            x = torch.cat([z.real, z.imag], dim=1)
        if self._odd is not None:
            x = x.narrow(self._axis, 0, self._odd)
        return x if self.rotation is None else x @ self.rotation.to(x.dtype)

    def complex_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Halve the paired axis, rounding up."""
        if self.rotation is not None:
            return (-(-len(self.rotation) // 2),)
        axis = self._axis if self._axis < 0 else self._axis - 1
        result = list(shape)
        result[axis] = -(-result[axis] // 2)
        return tuple(result)

    def extra_repr(self) -> str:
        """Name the way of pairing."""
        return f"how={self.how!r}" + ("" if self.rotation is None else ", rotated")


def random_rotation(dimension: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    r"""An orthogonal matrix drawn uniformly (Haar), (dimension, dimension).

    >>> Q = random_rotation(3)
    >>> bool(torch.allclose(Q @ Q.T, torch.eye(3, dtype=Q.dtype)))
    True
    """
    gaussian = torch.randn(dimension, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    return (q * r.diagonal().sign()).to(dtype)


def embedding(name: str | Embedding) -> Embedding:
    """Build an embedding by name: ``"complexification"``, ``"pairing"`` or ``"pairing-halves"``.

    >>> embedding("pairing")
    Pairing(how='neighbours')
    """
    if isinstance(name, Embedding):
        return name
    known: dict[str, Callable[[], Embedding]] = {
        "complexification": Complexification,
        "pairing": Pairing,
        "pairing-halves": lambda: Pairing("halves"),
    }
    if name not in known:
        raise unknown_name("embedding", name, known)
    return known[name]()
