"""Which operations of a traced network can be bounded when they are written as functions or methods."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from holomorph.enclosures import curves
from holomorph.enclosures.curves import Curve
from holomorph.enclosures.layers import Operation, adaptive_pool, average_pool, flatten, mean
from holomorph.enclosures.maps import Average, Dense, Scaling
from holomorph.errors import ModelError


@dataclass(frozen=True)
class Value:
    """The number of a program's value, while its steps are read."""

    number: int


class SymbolicShape:
    """The shape of a value; only its first entry, the batch, may be used."""


class Batch:
    """The number of samples in a batch."""


class AppliedOperation(NamedTuple):
    """What an operation is, and to which value it is applied."""

    source: Value
    operation: Operation


Arguments = Sequence[Any]
Options = Mapping[str, Any]


def _always(curve: Curve) -> Callable[[Arguments, Options], AppliedOperation]:
    return lambda arguments, options: AppliedOperation(arguments[0], curve)


def _gelu(arguments: Arguments, options: Options) -> AppliedOperation:
    if options.get("approximate", "none") != "none":
        raise ModelError("gelu is approximated, and its derivatives are others; use the exact one")
    return AppliedOperation(arguments[0], curves.GELU)


def _softplus(arguments: Arguments, options: Options) -> AppliedOperation:
    source, *rest = arguments
    beta = rest[0] if rest else options.get("beta", 1.0)
    threshold = rest[1] if len(rest) > 1 else options.get("threshold", 20.0)
    return AppliedOperation(source, curves.soft_plus(float(beta), float(threshold)))


def _flatten(arguments: Arguments, options: Options) -> AppliedOperation:
    source, *rest = arguments
    start = rest[0] if rest else options.get("start_dim", 0)
    return AppliedOperation(source, flatten(start, rest[1] if len(rest) > 1 else options.get("end_dim", -1)))


def _reshape(arguments: Arguments, options: Options) -> AppliedOperation:
    source, *shape = arguments
    shape = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple) else shape
    if not (shape and isinstance(shape[0], Batch) and all(isinstance(side, int) for side in shape[1:])):
        raise ModelError("its shape is not (batch, numbers)")
    sides = tuple(shape[1:])
    return AppliedOperation(source, Average(function=lambda x: x.reshape(len(x), *sides)))


def _mean(arguments: Arguments, options: Options) -> AppliedOperation:
    source, *rest = arguments
    axes = rest[0] if rest else options.get("dim", ())
    keepdim = rest[1] if len(rest) > 1 else options.get("keepdim", False)
    return AppliedOperation(source, mean((axes,) if isinstance(axes, int) else tuple(axes), keepdim))


def _average_pool(arguments: Arguments, options: Options) -> AppliedOperation:
    return AppliedOperation(arguments[0], average_pool(*arguments[1:], **options))


def _adaptive(arguments: Arguments, options: Options) -> AppliedOperation:
    size = arguments[1] if len(arguments) > 1 else options["output_size"]
    return AppliedOperation(arguments[0], adaptive_pool(size))


def _shift(arguments: Arguments, options: Options) -> AppliedOperation:
    source, number = _value_and_number(arguments)
    return AppliedOperation(source, Scaling(number, factor=torch.ones_like(number)))


def _difference(arguments: Arguments, options: Options) -> AppliedOperation:
    source, number = _value_and_number(arguments)
    first = isinstance(arguments[0], Value)
    one = torch.ones_like(number)
    return AppliedOperation(source, Scaling(-number if first else number, factor=one if first else -one))


def _product(arguments: Arguments, options: Options) -> AppliedOperation:
    source, number = _value_and_number(arguments)
    return AppliedOperation(source, Scaling(factor=number))


def _quotient(arguments: Arguments, options: Options) -> AppliedOperation:
    source, number = _value_and_number(arguments)
    if not isinstance(arguments[0], Value):
        raise ModelError("a number is divided by a value")
    return AppliedOperation(source, Scaling(factor=1 / number))


def _value_and_number(arguments: Arguments) -> tuple[Value, Tensor]:
    """A value and the one number that it is added to or multiplied with."""
    values = [argument for argument in arguments if isinstance(argument, Value)]
    numbers = [argument for argument in arguments if isinstance(argument, int | float | Tensor)]
    if len(arguments) != 2 or len(values) != 1 or len(numbers) != 1:
        raise ModelError("its terms are not one value and one number")
    number = torch.as_tensor(numbers[0], dtype=torch.float64)
    if number.numel() != 1:
        raise ModelError("its number is an array; use holomorph.nn.classifiers.Normalise or a layer")
    return values[0], number.reshape(())


def _dense(arguments: Arguments, options: Options) -> AppliedOperation:
    weight = arguments[1] if len(arguments) > 1 else options.get("weight")
    bias = arguments[2] if len(arguments) > 2 else options.get("bias")
    if not isinstance(weight, Tensor):
        raise ModelError("its weight is no parameter")
    return AppliedOperation(arguments[0], Dense(bias, weight=weight))


def _nothing(arguments: Arguments, options: Options) -> AppliedOperation:
    return AppliedOperation(arguments[0], Average(function=lambda x: x))


#: Operations by the name of the function or the method.
OPERATIONS: dict[str, Callable[[Arguments, Options], AppliedOperation]] = {
    "add": _shift,
    "adaptive_avg_pool2d": _adaptive,
    "avg_pool2d": _average_pool,
    "contiguous": _nothing,
    "flatten": _flatten,
    "gelu": _gelu,
    "linear": _dense,
    "mean": _mean,
    "mul": _product,
    "relu": _always(curves.RELU),
    "reshape": _reshape,
    "sigmoid": _always(curves.SIGMOID),
    "silu": _always(curves.SILU),
    "sin": _always(curves.SINE),
    "softplus": _softplus,
    "sub": _difference,
    "tanh": _always(curves.TANH),
    "truediv": _quotient,
    "div": _quotient,
    "view": _reshape,
}
