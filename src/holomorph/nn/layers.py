r"""Complex layers: affine maps, pooling, sums. All are holomorphic; real tensors are taken as complex ones.

Weights are kept as two real parameters, so that any optimizer, checkpoint format and data-parallel engine takes
them. Initialisation: $E|W_{jk}|^2 = 1/\text{fan-in}$ (real and imaginary part with half of it each), zero bias, so
that $E|Wz|^2 = E|z|^2$ for independent coordinates.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holomorph.errors import ConfigError

_GAUSS_FROM = 512 * 512


def as_complex(z: Tensor) -> Tensor:
    """Attach a zero imaginary part to a real tensor."""
    return z if z.is_complex() else torch.complex(z, torch.zeros_like(z))


def on_parts(operation: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Apply a real-linear operation to Re z and Im z, stacked along the batch: two real products, one call.

    >>> on_parts(lambda t: 2 * t, torch.tensor([1 + 2j]))
    tensor([2.+4.j])
    """
    if not z.is_complex():
        return as_complex(operation(z))
    real, imaginary = operation(torch.cat([z.real, z.imag])).chunk(2)
    return torch.complex(real, imaginary)


class _Affine(nn.Module):
    """Weight and bias of a complex affine layer."""

    def __init__(self, shape: tuple[int, ...], bias: bool, real: bool) -> None:
        super().__init__()
        fan_in = math.prod(shape[1:])
        std = math.sqrt((1 if real else 0.5) / fan_in)
        self.weight_real = nn.Parameter(torch.randn(shape) * std)
        self.weight_imag = None if real else nn.Parameter(torch.randn(shape) * std)
        self.bias_real = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.bias_imag = nn.Parameter(torch.zeros(shape[0])) if bias and not real else None

    @property
    def weight(self) -> Tensor:
        """The weight, real or complex."""
        return self.weight_real if self.weight_imag is None else torch.complex(self.weight_real, self.weight_imag)

    @property
    def bias(self) -> Tensor | None:
        """The bias, real or complex, or None."""
        if self.bias_real is None or self.bias_imag is None:
            return self.bias_real
        return torch.complex(self.bias_real, self.bias_imag)

    def extra_repr(self) -> str:
        """Shape of the weight."""
        kind = "real" if self.weight_imag is None else "complex"
        return f"{tuple(self.weight_real.shape)}, {kind}, bias={self.bias_real is not None}"


class ComplexLinear(_Affine):
    r"""$z \mapsto Wz + b$.

    Parameters
    ----------
    inputs, outputs:
        Sizes.
    bias:
        Whether b is there.
    real:
        Real weights: two real products instead of four, and the layer maps real inputs to real outputs.

    Large complex weights (from 512 x 512) use Gauss's three real products, which are faster there; smaller ones use one
    complex product.

    Shapes: (..., inputs) to (..., outputs). Source: docs/mathematics.md, section 4.

    >>> ComplexLinear(3, 2)(torch.zeros(4, 3, dtype=torch.complex64)).shape
    torch.Size([4, 2])
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, real: bool = False) -> None:
        super().__init__((outputs, inputs), bias, real)

    def forward(self, z: Tensor) -> Tensor:
        """Apply the layer."""
        if self.weight_imag is None:
            image = on_parts(lambda part: F.linear(part, self.weight_real), z)
        elif self.weight_real.numel() >= _GAUSS_FROM:
            image = gauss_linear(as_complex(z), self.weight_real, self.weight_imag)
        else:
            image = F.linear(as_complex(z), self.weight)
        return image if self.bias is None else image + self.bias


class _Conv(_Affine):
    _function: Callable[..., Tensor]
    _dimensions: int

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        real: bool = False,
    ) -> None:
        super().__init__((outputs, inputs, *(kernel,) * self._dimensions), bias, real)
        self.stride, self.padding = stride, padding

    def forward(self, z: Tensor) -> Tensor:
        """Apply the layer."""
        operation = type(self)._function
        if self.weight_imag is None:
            image = on_parts(
                lambda part: operation(part, self.weight_real, stride=self.stride, padding=self.padding), z
            )
        else:
            image = operation(as_complex(z), self.weight, stride=self.stride, padding=self.padding)
        return image if self.bias is None else image + self.bias.reshape(-1, *(1,) * self._dimensions)


class ComplexConv1d(_Conv):
    """Convolution of complex signals (batch, channels, length); settings as in :class:`ComplexConv2d`.

    >>> ComplexConv1d(2, 3, 3, padding=1)(torch.zeros(1, 2, 8, dtype=torch.complex64)).shape
    torch.Size([1, 3, 8])
    """

    _function = staticmethod(F.conv1d)
    _dimensions = 1


class ComplexConv2d(_Conv):
    """Convolution of complex images (batch, channels, height, width), zero-padded.

    With complex weights torch itself takes Gauss's three real convolutions; with ``real=True`` there are two.

    >>> ComplexConv2d(1, 4, 3, stride=2)(torch.zeros(1, 1, 9, 9, dtype=torch.complex64)).shape
    torch.Size([1, 4, 4, 4])
    """

    _function = staticmethod(F.conv2d)
    _dimensions = 2


class ComplexAvgPool(nn.Module):
    """Average pooling over one or two axes, linear and so holomorphic (max pooling is not).

    >>> ComplexAvgPool(2)(torch.tensor([[[1 + 0j, 3 + 2j]]]))
    tensor([[[2.+1.j]]])
    """

    def __init__(self, kernel: int, stride: int | None = None) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, z: Tensor) -> Tensor:
        """Pool (batch, channels, length) or (batch, channels, height, width)."""
        if z.ndim not in (3, 4):
            raise ConfigError(f"Pooling takes (batch, channels, length) or images, not the shape {tuple(z.shape)}.")
        pool: Callable[..., Tensor] = F.avg_pool1d if z.ndim == 3 else F.avg_pool2d
        return on_parts(lambda part: pool(part, self.kernel, self.stride), z)


class ComplexDropout(nn.Module):
    """Dropout with *one* mask for real and imaginary part: z times a real number is holomorphic in z.

    >>> ComplexDropout(0.5).eval()(torch.tensor([1 + 2j]))
    tensor([1.+2.j])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ConfigError(f"The dropout rate must lie in [0, 1), not {p}.")
        self.p = p

    def forward(self, z: Tensor) -> Tensor:
        """Drop coordinates in training mode."""
        return z * F.dropout(torch.ones_like(z.real), self.p, self.training)


class Residual(nn.Module):
    """z + body(z).

    >>> Residual(nn.Identity())(torch.tensor([1j]))
    tensor([0.+2.j])
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, z: Tensor) -> Tensor:
        """Add."""
        return z + self.body(z)


def gauss_linear(z: Tensor, weight_real: Tensor, weight_imag: Tensor) -> Tensor:
    r"""$Wz$ by Gauss's three real products instead of four.

    $P(a+b)$, $(Q-P)a$, $(P+Q)b$ for $W = P + iQ$, $z = a + ib$: Re = first - third, Im = first + second.

    >>> P, Q, z = torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([[3 + 4j]])
    >>> gauss_linear(z, P, Q)
    tensor([[2.+11.j]])
    """
    first = F.linear(z.real + z.imag, weight_real)
    second = F.linear(z.real, weight_imag - weight_real)
    third = F.linear(z.imag, weight_real + weight_imag)
    return torch.complex(first - third, first + second)
