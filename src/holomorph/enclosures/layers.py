"""Which layers can be bounded, and what each one is: a linear map or an activation. One line a layer."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from holomorph.enclosures import curves
from holomorph.enclosures.curves import Curve
from holomorph.enclosures.maps import Average, Convolution, Dense, LinearMap, Scaling
from holomorph.errors import ModelError
from holomorph.nn.classifiers import Normalise, Sine

Operation = LinearMap | Curve

#: What can be bounded, in words for errors.
BOUNDED = (
    "Bounds know linear layers, convolutions, sums, average pooling, flattening, normalisation in evaluation mode and "
    "the activations GELU, SiLU, tanh, sigmoid, softplus, sin and ReLU; method='smoothing' takes any network."
)


def refuse(what: str, reason: str = "") -> ModelError:
    """The error for a part that cannot be bounded.

    >>> str(refuse("layer 2 (MaxPool2d)"))[:45]
    'The layer 2 (MaxPool2d) cannot be bounded. Bo'
    """
    return ModelError(f"The {what} cannot be bounded{': ' + reason if reason else ''}. {BOUNDED}")


def layer(part: nn.Module, dtype: torch.dtype, name: str = "") -> Operation:
    """The operation of a layer in evaluation mode.

    Raises
    ------
    ModelError
        For a layer that is not in the table, or has been given another forward pass.
    """
    what = f"layer {name} ({type(part).__name__})".replace("  ", " ")
    for kind, maker in LAYERS.items():
        if isinstance(part, kind):
            if type(part).forward is not kind.forward:
                raise refuse(what, "its forward pass is another than that of the layer it is derived from")
            try:
                return maker(part, dtype)
            except ModelError as error:
                raise refuse(what, str(error)) from None
    raise refuse(what)


def flatten(start: int = 1, end: int = -1) -> Average:
    """Flattening, which moves numbers only.

    Raises
    ------
    ModelError
        Where the batch would be flattened, too.
    """
    if start == 0:
        raise ModelError("flattening takes in the batch")
    return Average(function=lambda x: x.flatten(start, end))


def mean(axes: tuple[int, ...], keepdim: bool = False) -> Average:
    """The mean over axes of a sample.

    Raises
    ------
    ModelError
        Where the mean takes in the batch, or its axes are not stated.
    """
    if not axes or 0 in axes:
        raise ModelError("the mean takes in the batch")
    return Average(function=lambda x: x.mean(axes, keepdim), summed=lambda shape: math.prod(shape) + 2)


def average_pool(
    kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Average:  # fmt: skip
    """Average pooling with the arguments of torch.

    Raises
    ------
    ModelError
        For a negative divisor.
    """
    if divisor_override is not None and divisor_override < 0:
        raise ModelError("its divisor is negative")
    settings = (kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad, divisor_override)
    window = kernel_size**2 if isinstance(kernel_size, int) else math.prod(kernel_size)
    return Average(function=lambda x: avg_pool2d(x, *settings), summed=lambda shape: window + 2)


def adaptive_pool(size: Any) -> Average:
    """Average pooling to a given size; windows overlap by one row and one column at most."""
    return Average(function=lambda x: adaptive_avg_pool2d(x, size), summed=lambda shape: math.prod(shape[-2:]) + 2)


def _dense(part: Any, dtype: torch.dtype) -> Dense:
    return Dense(None if part.bias is None else part.bias.to(dtype), weight=part.weight.to(dtype))


def _convolution(part: Any, dtype: torch.dtype) -> Convolution:
    if part.padding_mode != "zeros":
        raise ModelError(f"its padding is {part.padding_mode!r}, not zeros")
    padding = part.padding
    if isinstance(padding, str):
        doubled = [
            d * (k - 1) if padding == "same" else 0 for d, k in zip(part.dilation, part.kernel_size, strict=True)
        ]
        if any(both % 2 for both in doubled):
            raise ModelError("its padding differs from side to side")
        padding = tuple(both // 2 for both in doubled)
    bias = None if part.bias is None else part.bias.to(dtype)[:, None, None]
    return Convolution(
        bias, weight=part.weight.to(dtype), stride=part.stride, padding=padding, dilation=part.dilation,
        groups=part.groups,
    )  # fmt: skip


def _batch_norm(part: Any, dtype: torch.dtype) -> Scaling:
    if part.running_mean is None or part.running_var is None:
        raise ModelError("it has no running statistics, so that each sample's output depends on its batch")
    mean, deviation = part.running_mean.to(dtype), (part.running_var.to(dtype) + part.eps).sqrt()
    factor = 1 / deviation if part.weight is None else part.weight.to(dtype) / deviation
    shift = torch.zeros_like(mean) if part.bias is None else part.bias.to(dtype)
    return Scaling(shift - mean * factor, (mean * factor).abs() + shift.abs(), factor=factor)


def _normalise(part: Any, dtype: torch.dtype) -> Scaling:
    factor = 1 / part.std.to(dtype)
    bias = -part.mean.to(dtype) * factor
    return Scaling(bias, factor=factor.expand_as(bias))


def _softplus(part: Any, dtype: torch.dtype) -> Curve:
    return curves.soft_plus(float(part.beta), float(part.threshold))


def _gelu(part: Any, dtype: torch.dtype) -> Curve:
    if part.approximate != "none":
        raise ModelError(f"it is approximated by {part.approximate}, whose derivatives are others; use the exact one")
    return curves.GELU


def _adaptive(part: Any, dtype: torch.dtype) -> Average:
    return adaptive_pool(part.output_size)


def _average(part: Any, dtype: torch.dtype) -> Average:
    return average_pool(
        part.kernel_size, part.stride, part.padding, part.ceil_mode, part.count_include_pad, part.divisor_override
    )


def _flatten(part: Any, dtype: torch.dtype) -> Average:
    return flatten(part.start_dim, part.end_dim)


def _nothing(part: nn.Module | None, dtype: torch.dtype) -> Average:
    return Average(function=lambda x: x)


def _always(curve: Curve) -> Callable[[Any, torch.dtype], Curve]:
    return lambda part, dtype: curve


LAYERS: dict[type[nn.Module], Callable[[Any, torch.dtype], Operation]] = {
    nn.Linear: _dense,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    Normalise: _normalise,
    nn.AvgPool2d: _average,
    nn.AdaptiveAvgPool2d: _adaptive,
    nn.Flatten: _flatten,
    nn.Identity: _nothing,
    nn.Dropout: _nothing,
    nn.Dropout2d: _nothing,
    nn.GELU: _gelu,
    nn.SiLU: _always(curves.SILU),
    nn.Tanh: _always(curves.TANH),
    nn.Sigmoid: _always(curves.SIGMOID),
    nn.Softplus: _softplus,
    nn.ReLU: _always(curves.RELU),
    Sine: _always(curves.SINE),
}
