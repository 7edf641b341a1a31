r"""A tensor that carries further numbers through any torch program: the common part of real and complex jets.

Why ``__torch_function__`` and not torch.fx: it needs no tracing, so data-dependent Python, hooks and modules of any
kind run unchanged, and it sees the operations with the arguments they really had. Its price, a few microseconds an
operation, is nothing beside a convolution.

Why the parts are separate tensors and not one stack: view operations that name the batch size
(``x.reshape(len(x), -1)``) then mean what they say, biases need no correction, and nothing is concatenated.
"""

from __future__ import annotations

import sys
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from holomorph.calculus.elementary import COMPOSITES
from holomorph.errors import ModelError

#: A torch operation as a function of the tensors that stand where the carriers stood.
Call = Callable[..., Any]

#: Operations linear in their first argument; the others are constants.
LINEAR = frozenset(
    """adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d avg_pool2d avg_pool3d broadcast_to chunk
    clone contiguous cumsum diagonal double dropout expand expand_as flatten flip float fold gather getitem
    index_select interpolate H mH mT T mean moveaxis movedim narrow neg pad permute pixel_shuffle pixel_unshuffle
    positive ravel real repeat repeat_interleave reshape reshape_as roll select split squeeze sum swapaxes swapdims t
    take_along_dim tensor_split tile to trace transpose tril triu type_as unbind unflatten unfold unsqueeze upsample
    view view_as""".split()  # noqa: SIM905
)
#: Linear up to a bias, which only the value gets.
AFFINE = frozenset("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d".split())  # noqa: SIM905
JOINING = frozenset({"cat", "concat", "concatenate", "stack", "hstack", "vstack"})
ADDING = frozenset({"add", "sub", "subtract", "rsub", "radd"})
PRODUCTS = frozenset({"mul", "multiply", "rmul", "matmul", "rmatmul", "mm", "bmm", "mv", "dot", "einsum", "outer"})
QUOTIENTS = frozenset({"div", "divide", "true_divide", "truediv"})
DROPOUTS = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"})
#: What is asked of the value alone and answered with something that carries nothing.
INSPECTING = frozenset(
    """dim element_size empty_like format full_like get_device is_complex is_contiguous is_floating_point len
    ndimension nelement new_empty new_full new_ones new_tensor new_zeros numel ones_like rand_like randn_like repr size
    storage_offset stride str zeros_like""".split()  # noqa: SIM905
)
_APPLY = torch.autograd.Function.apply.__func__.__code__  # type: ignore[attr-defined]
_WRITING = frozenset({"setitem", "set", "copy", "requires_grad", "backward"})
_INPLACE_OPERATORS = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "imatmul": "matmul"}


class _AbstractTensor(ABCMeta, torch._C._TensorMeta):
    """The type of tensor classes with abstract methods."""


class Carrier(Tensor, metaclass=_AbstractTensor):
    """A tensor of the shape of its value, with further parts; each torch function finds its rule by name."""

    value: Tensor

    @staticmethod
    def __new__(cls, value: Tensor, *parts: Tensor | None) -> Self:
        """Make the wrapper: it has the value's shape, type and device, and no storage."""
        return Tensor._make_wrapper_subclass(
            cls, value.shape, strides=value.stride(), dtype=value.dtype, device=value.device
        )

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Send the operation to the rule of its name."""
        custom = _custom_function()
        if custom is not None:
            raise ModelError(
                f"{custom} is a custom autograd.Function: a jet would differentiate its forward code, not call its "
                f"backward. Write it with torch operations, or use input_gradient, jacobian or vjp."
            )
        name, is_property = _name(func)
        arguments, named = list(args), dict(kwargs or {})
        if name in INSPECTING or (is_property and name not in LINEAR):
            return func(*tree_map(_value, arguments), **tree_map(_value, named))
        into_plain = _in_place(func) and not (arguments and isinstance(arguments[0], cls))  # keeps the value alone
        if name in _WRITING or named.get("out") is not None or into_plain:
            raise ModelError(
                f"{name} writes into a tensor inside a jet, which is not supported. Use an operation that "
                f"returns a new tensor."
            )
        written = _written_to(func, name, arguments, named)
        if written is not None:
            name = _INPLACE_OPERATORS.get(name, name)
            func = _out_of_place(func, name)
            named.pop("inplace", None)
        result = cls.apply_rule(name, func, arguments, named)
        return result if written is None else written.become(result)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """What arrives here went past every torch function: compiled code, for instance."""
        raise ModelError(
            f"A jet cannot follow {func}: it is called below torch's functions. Use another energy method."
        )

    @classmethod
    def apply_rule(cls, name: str, func: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """The rules that are the same for every kind of jet; the rest is left to :meth:`nonlinear`."""
        if name in DROPOUTS:
            return cls.drop(func, args, kwargs)
        if name in COMPOSITES:
            return cls.composite(name, args, kwargs)
        if name == "batch_norm":
            return cls.frozen_batch_norm(*args, **kwargs)
        call, carriers = slots(func, args, kwargs)
        first_only = len(carriers) == 1 and len(args) > 0 and args[0] is carriers[0]
        if name in AFFINE and first_only:
            without = slots(func, _without_bias(args), {k: v for k, v in kwargs.items() if k != "bias"})[0]
            return carriers[0].push_affine(call, without)
        if name == "pad" and first_only:
            without = slots(func, args[:3], {k: v for k, v in kwargs.items() if k != "value"})[0]
            return carriers[0].push(call, without)
        if (name in LINEAR or name in QUOTIENTS) and first_only and not _rounds(args, kwargs):
            return carriers[0].push(call, call)
        if name in PRODUCTS and len(carriers) == 1:
            return carriers[0].push(call, call)
        if name in JOINING:
            return cls.join(call, func, args, kwargs)
        if name in ADDING:
            return cls.add_up(name, call, args, kwargs)
        return cls.nonlinear(name, func, args, kwargs)

    @classmethod
    def composite(cls, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Normalisation and attention, taken apart into elementary operations."""
        return COMPOSITES[name](*args, **kwargs)

    @abstractmethod
    def push(self, on_value: Call, on_parts: Call) -> Any:
        """Apply a map to the value and its linear part to the others."""

    def push_affine(self, on_value: Call, on_parts: Call) -> Any:
        """The same for a layer that treats the samples alike."""
        return self.push(on_value, on_parts)

    @abstractmethod
    def scaled(self, factor: float, shape: torch.Size) -> Self:
        """Every part but the value times a number, broadcast to a shape."""

    @classmethod
    @abstractmethod
    def pairwise(cls, value: Tensor, a: Self, b: Self, factors: tuple[float, float]) -> Self:
        """The sum of two jets, given its value."""

    @classmethod
    @abstractmethod
    def lift(cls, plain: Tensor, like: Self) -> Self:
        """A constant as a jet."""

    @classmethod
    @abstractmethod
    def nonlinear(cls, name: str, func: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Everything that is not linear."""

    def become(self, other: Carrier) -> Self:
        """Take over the parts of another jet, for operations in place."""
        if other.shape != self.shape:
            raise ModelError("An operation in place changed the shape inside a jet. Use one that returns a new tensor.")
        self.__dict__.update(other.__dict__)
        return self

    @classmethod
    def add_up(cls, name: str, call: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Sums and differences of jets with jets, tensors and numbers."""
        alpha = float(kwargs.get("alpha", 1.0))
        factors = {"sub": (1.0, -alpha), "subtract": (1.0, -alpha), "rsub": (-alpha, 1.0)}.get(name, (1.0, alpha))
        a, b = args[0], args[1] if len(args) > 1 else kwargs["other"]
        if isinstance(a, cls) and isinstance(b, cls):
            return cls.pairwise(call(a.value, b.value), a, b, factors)
        jet, factor = (a, factors[0]) if isinstance(a, cls) else (b, factors[1])
        value = call(jet.value)
        return jet.scaled(factor, value.shape).with_value(value)

    @abstractmethod
    def with_value(self, value: Tensor) -> Self:
        """The same further parts with another value."""

    @classmethod
    def join(cls, call: Call, func: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Concatenations, constants becoming jets first."""
        pieces, *rest = args or [kwargs.pop("tensors")]
        like = next(p for p in pieces if isinstance(p, cls))
        jets = [p if isinstance(p, cls) else cls.lift(p, like) for p in pieces]
        return like.push_all(lambda *parts: func(list(parts), *rest, **kwargs), jets)

    @abstractmethod
    def push_all(self, op: Call, jets: list[Self]) -> Self:
        """Apply an operation that is linear in several jets together."""

    @classmethod
    def drop(cls, func: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Dropout: one mask for all parts."""
        jet = args[0] if args else kwargs.pop("input")
        if not (args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))):
            return jet
        mask = func(torch.ones_like(jet.value), *args[1:], **kwargs)
        return jet.push(lambda t: t * mask, lambda t: t * mask)

    @classmethod
    def frozen_batch_norm(
        cls,
        input: Any,
        mean: Tensor | None,
        variance: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Any:
        """Batch normalisation as the affine map that it is once its statistics are fixed.

        In training mode the statistics are those of the value's batch; they do not count as functions of the input,
        for else the samples would mix.
        """
        if training or mean is None or variance is None:
            axes = [0, *range(2, input.ndim)]
            batch_variance, batch_mean = torch.var_mean(input.value, axes, correction=0)
            F.batch_norm(input.value.detach(), mean, variance, None, None, True, momentum, eps)  # running statistics
            mean, variance = batch_mean, batch_variance
        shape = (1, -1, *(1,) * (input.ndim - 2))
        scale = (variance + eps).rsqrt() * (1 if weight is None else weight)
        shift = (0 if bias is None else bias) - mean * scale
        return input.push(
            lambda t: torch.addcmul(shift.reshape(shape), t, scale.reshape(shape)), lambda t: t * scale.reshape(shape)
        )


def slots(func: Call, args: list[Any], kwargs: dict[str, Any]) -> tuple[Call, list[Any]]:
    """The operation as a function of what stands in the places of its carriers, and those carriers."""
    leaves, spec = tree_flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Carrier)]

    def call(*tensors: Tensor) -> Any:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        new_args, new_kwargs = tree_unflatten(filled, spec)
        return func(*new_args, **new_kwargs)

    return call, [leaves[i] for i in places]


def _name(func: Callable[..., Any]) -> tuple[str, bool]:
    """The bare name of an operation, and whether it is a property: Tensor.__add__, torch.add, add_ are all 'add'."""
    name: str = getattr(func, "__name__", str(func))
    if name == "__get__":
        return str(getattr(func.__self__, "__name__", "")), True  # type: ignore[attr-defined]
    return name.strip("_"), False


def _custom_function() -> str | None:
    """The autograd.Function whose forward code is running on a jet, by its place on the stack: torch has no hook."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") != "holomorph.calculus.jets":
        if frame.f_code is _APPLY:
            return str(frame.f_locals["cls"].__name__)
        frame = frame.f_back
    return None


def _value(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, Carrier) else leaf


def _rounds(args: list[Any], kwargs: dict[str, Any]) -> bool:
    """Whether the arguments of a cast or a division ask for whole numbers."""
    kind = kwargs.get("dtype", args[-1])
    return kwargs.get("rounding_mode") is not None or (isinstance(kind, torch.dtype) and not kind.is_floating_point)


def _without_bias(args: list[Any]) -> list[Any]:
    return [*args[:2], None, *args[3:]] if len(args) > 2 else args


def _in_place(func: Call) -> bool:
    """Whether the operation's name says so: add_, not __add__."""
    raw = getattr(func, "__name__", "")
    return raw.endswith("_") and not raw.endswith("__")


def _written_to(func: Call, name: str, args: list[Any], kwargs: dict[str, Any]) -> Carrier | None:
    """The carrier that an operation overwrites, if any."""
    target = args[0] if args else None
    inplace = _in_place(func) or name in _INPLACE_OPERATORS or kwargs.get("inplace")
    return target if inplace and isinstance(target, Carrier) else None


def _out_of_place(func: Call, name: str) -> Call:
    if getattr(func, "__module__", "") == "torch.nn.functional" and not func.__name__.endswith("_"):
        return func
    found = getattr(torch, name, None) or getattr(Tensor, name, None) or getattr(F, name, None)
    if found is None:
        raise ModelError(f"{name} in place has no counterpart that returns a new tensor; a jet cannot follow it.")
    return found
