"""The linear maps that networks are made of, each with its transpose and with the moduli of its entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, linear

#: The shape of a sample.
Shape = tuple[int, ...]


@dataclass(frozen=True)
class LinearMap(ABC):
    """x to Wx + b, sample by sample.

    Attributes
    ----------
    bias:
        b, to be added to (batch, ...), or None.
    bias_size:
        A bound of the modulus of everything that is summed up in b, or None for that of b.
    """

    bias: Tensor | None = None
    bias_size: Tensor | None = None

    @abstractmethod
    def terms(self, shape: Shape) -> int:
        """The longest sum of products in W or its transpose for samples of a shape; 0 where numbers only move."""

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """Wx for (batch, ...)."""

    @abstractmethod
    def transpose(self, a: Tensor, shape: Shape) -> Tensor:
        """$W^T a$ for (batch, ...), with the shape of a sample of x."""

    @abstractmethod
    def absolute(self) -> LinearMap:
        """The map whose entries are |W|, without bias."""

    def __call__(self, x: Tensor) -> Tensor:
        """Wx + b."""
        out = self.apply(x)
        return out if self.bias is None else out + self.spread(self.bias, out)

    def spread(self, numbers: Tensor, like: Tensor) -> Tensor:
        """The bias so shaped that it can be added to ``like``."""
        return numbers

    def size_of_bias(self, like: Tensor) -> Tensor | float:
        """A bound of what the bias can add to rounding."""
        if self.bias is None:
            return 0.0
        return self.spread(self.bias.abs() if self.bias_size is None else self.bias_size, like)


@dataclass(frozen=True, kw_only=True)
class Dense(LinearMap):
    """A matrix, on the last axis."""

    weight: Tensor

    def terms(self, shape: Shape) -> int:
        """The longer side."""
        return max(self.weight.shape) + 1

    def apply(self, x: Tensor) -> Tensor:
        """Wx."""
        return linear(x, self.weight)

    def transpose(self, a: Tensor, shape: Shape) -> Tensor:
        """W^T a."""
        return a @ self.weight

    def absolute(self) -> Dense:
        """|W|."""
        return Dense(weight=self.weight.abs())


@dataclass(frozen=True, kw_only=True)
class Convolution(LinearMap):
    """A convolution in two dimensions, zeros around it."""

    weight: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def terms(self, shape: Shape) -> int:
        """Entries of one filter, or of one channel of all filters."""
        outputs, inputs, *window = self.weight.shape
        return max(inputs, outputs // self.groups) * window[0] * window[1] + 1

    def apply(self, x: Tensor) -> Tensor:
        """Convolve."""
        return conv2d(x, self.weight, None, self.stride, self.padding, self.dilation, self.groups)

    def transpose(self, a: Tensor, shape: Shape) -> Tensor:
        """The transposed convolution."""
        window = self.weight.shape[2:]
        sides = zip(shape[1:], a.shape[2:], window, self.stride, self.padding, self.dilation, strict=True)
        beyond = [side - ((out - 1) * s - 2 * p + d * (k - 1) + 1) for side, out, k, s, p, d in sides]
        return conv_transpose2d(a, self.weight, None, self.stride, self.padding, beyond, self.groups, self.dilation)

    def absolute(self) -> Convolution:
        """The same with the filters' moduli."""
        return replace(self, weight=self.weight.abs(), bias=None, bias_size=None)


@dataclass(frozen=True, kw_only=True)
class Scaling(LinearMap):
    """One factor and one bias for all coordinates, or one for each channel, the first axis of a sample."""

    factor: Tensor

    def terms(self, shape: Shape) -> int:
        """A factor that was itself computed in a few steps, a product and a sum."""
        return 8

    def apply(self, x: Tensor) -> Tensor:
        """The product."""
        return x * self.spread(self.factor, x)

    def transpose(self, a: Tensor, shape: Shape) -> Tensor:
        """The product."""
        return a * self.spread(self.factor, a)

    def spread(self, numbers: Tensor, like: Tensor) -> Tensor:
        """Several numbers serve the channels."""
        return numbers.reshape(-1, *(1,) * (like.ndim - 2)) if numbers.ndim else numbers

    def absolute(self) -> Scaling:
        """The product with the moduli."""
        return Scaling(factor=self.factor.abs())


@dataclass(frozen=True, kw_only=True)
class Average(LinearMap):
    """Sums with weights that are not negative: averages, and what only moves numbers.

    ``summed`` says how many numbers one sum holds, in either direction, for samples of a shape.
    """

    function: Callable[[Tensor], Tensor]
    summed: Callable[[Shape], int] = lambda shape: 0

    def terms(self, shape: Shape) -> int:
        """As was stated."""
        return self.summed(shape)

    def apply(self, x: Tensor) -> Tensor:
        """The averages."""
        return self.function(x)

    def transpose(self, a: Tensor, shape: Shape) -> Tensor:
        """Spread out again."""
        with torch.enable_grad():
            anywhere = torch.zeros(len(a), *shape, dtype=a.dtype, device=a.device, requires_grad=True)
            return torch.autograd.grad(self.function(anywhere), anywhere, a, create_graph=a.requires_grad)[0]

    def absolute(self) -> Average:
        """The same map."""
        return self
