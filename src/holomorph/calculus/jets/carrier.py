r"""A tensor that carries further numbers through any torch program: the common part of real and complex jets.

Why ``__torch_function__`` and not torch.fx: it needs no tracing, so data-dependent Python, hooks and modules of any
kind run unchanged, and it sees the operations with the arguments they really had. Its price, a few microseconds an
operation, is nothing beside a convolution.

Why the parts are separate tensors and not one stack: view operations that name the batch size
(``x.reshape(len(x), -1)``) then mean what they say, biases need no correction, and nothing is concatenated.

How a custom autograd.Function is noticed: a jet is a leaf that asks for a gradient, so such a function, and nothing
else, gives it a ``grad_fn``.
"""

from __future__ import annotations

import weakref
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from holomorph.calculus.elementary import COMPOSITES, NormCall
from holomorph.calculus.jets import operations
from holomorph.calculus.jets.following import graph_wanted
from holomorph.calculus.jets.memory import shared, with_item, with_view, writes
from holomorph.calculus.jets.nested import leaves, mapped
from holomorph.calculus.jets.normalisation import frozen_batch_norm
from holomorph.calculus.jets.operations import Call, in_place, is_float, name_of, out_of_place, without_bias
from holomorph.errors import ModelError


class _AbstractTensor(ABCMeta, type(Tensor)):  # type: ignore[misc]
    """The type of tensor classes with abstract methods."""


class Carrier(Tensor, metaclass=_AbstractTensor):  # type: ignore[metaclass]
    """A tensor of the shape of its value, with further parts; each torch function finds its rule by name."""

    value: Tensor

    @staticmethod
    def __new__(cls, value: Tensor, *parts: Tensor | None) -> Self:
        """Make the wrapper: an empty tensor of the value's shape; what is asked of it, the value answers.

        Torch makes no subclass of a tensor that is one already, as those of a network on several devices are.
        """
        jet = torch.empty(value.shape, dtype=value.dtype, device="meta").as_subclass(cls)
        jet.requires_grad_()
        jet.source, jet.views, jet.constant = None, [], False
        return jet

    #: The jet of which this is a view, how, and whether without its derivatives; the views of this one.
    source: tuple[Carrier, Call, bool] | None
    views: list[weakref.ref[Carrier]]
    #: Whether it was computed without gradients, or from such numbers alone.
    constant: bool

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Send the operation to the rule of its name."""
        name, is_property = name_of(func)
        if func is Tensor.requires_grad_ or (is_property and name == "grad_fn"):
            return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]
        arguments, named = list(args), dict(kwargs or {})
        carriers = _carriers((arguments, named))
        for carrier in carriers:
            carrier.check()
        if name in operations.INSPECTING or (is_property and name not in operations.LINEAR | operations.DETACHING):
            return func(*mapped(_value, arguments), **mapped(_value, named))
        if name in operations.LEAVING and not all(carrier.constant for carrier in carriers):
            raise ModelError(f"{name} leaves torch, where a jet cannot follow. Write it with torch operations.")
        if name in operations.REFUSED or named.get("out") is not None:
            raise writes(name)
        stopped = not torch.is_grad_enabled()  # in a no_grad block, or in a custom function
        with torch.set_grad_enabled(graph_wanted() and not stopped):
            if name == "setitem" or in_place(func, named):
                return cls.write(name, func, arguments, named, stopped)
            result = cls.followed(name, func, arguments, named, stopped)
            if name in operations.LINEAR | operations.DETACHING and arguments and isinstance(arguments[0], cls):
                _note_views(
                    arguments[0], slots(func, arguments, named)[0], result, stopped or name in operations.DETACHING
                )
            return result

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """What arrives here went past every torch function: compiled code, for instance."""
        raise ModelError(
            f"A jet cannot follow {func}: it is called below torch's functions. Use another energy method."
        )

    def check(self) -> None:
        """Refuse what came out of a custom autograd.Function."""
        if self.grad_fn is not None:
            custom = type(self.grad_fn).__name__.removesuffix("Backward")
            raise ModelError(
                f"{custom} is a custom autograd.Function: a jet would differentiate its forward code, not call its "
                f"backward. Write it with torch operations, or use input_gradient, jacobian or vjp."
            )

    @classmethod
    def followed(cls, name: str, func: Call, args: list[Any], kwargs: dict[str, Any], stopped: bool = False) -> Any:
        """What the rules give; of constants alone a constant, so that no infinite slope meets a derivative of zero."""
        carriers = _carriers((args, kwargs))
        if not stopped and not all(carrier.constant for carrier in carriers):
            return cls.apply_rule(name, func, args, kwargs)
        plain = func(*mapped(_value, args), **mapped(_value, kwargs))
        return mapped(lambda leaf: carriers[0].stopped(leaf) if is_float(leaf) else leaf, plain)

    @classmethod
    def apply_rule(cls, name: str, func: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """The rules that are the same for every kind of jet; the rest is left to :meth:`nonlinear`."""
        if name in operations.DROPOUTS:
            return cls.drop(func, args, kwargs)
        if name in COMPOSITES and (taken := cls.composite(name, args, kwargs)) is not NotImplemented:
            return taken
        if name == "batch_norm":
            return frozen_batch_norm(NormCall(*args, **kwargs))
        call, carriers = slots(func, args, kwargs)
        first_only = len(carriers) == 1 and len(args) > 0 and args[0] is carriers[0]
        if name in operations.AFFINE and first_only:
            without = slots(func, without_bias(args), {k: v for k, v in kwargs.items() if k != "bias"})[0]
            return carriers[0].push_affine(call, without)
        if name == "pad" and first_only:
            without = slots(func, args[:3], {k: v for k, v in kwargs.items() if k != "value"})[0]
            return carriers[0].push(call, without)
        whole = kwargs.get("rounding_mode") is not None
        if (name in operations.LINEAR or name in operations.QUOTIENTS) and first_only and not whole:
            return carriers[0].push(call, call)
        if name in operations.PRODUCTS and len(carriers) == 1:
            return carriers[0].push(call, call)
        if name in operations.JOINING:
            return cls.join(call, func, args, kwargs)
        if name in operations.ADDING:
            return cls.add_up(name, call, args, kwargs)
        return cls.nonlinear(name, func, args, kwargs)

    @classmethod
    def composite(cls, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Normalisation and attention, taken apart into elementary operations."""
        with torch.enable_grad():
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
    def lift(cls, plain: Tensor, like: Any) -> Self:
        """A constant as a jet."""

    def stopped(self, plain: Tensor) -> Self:
        """What was computed without gradients, as autograd sees it: a constant."""
        jet = self.lift(plain, self)
        jet.constant = True
        return jet

    @classmethod
    @abstractmethod
    def nonlinear(cls, name: str, func: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Everything that is not linear."""

    @classmethod
    def write(cls, name: str, func: Call, args: list[Any], kwargs: dict[str, Any], stopped: bool) -> Any:
        """An operation in place: the one with a result of its own, which the jet and its aliases then become."""
        target = args[0] if args else None
        if not isinstance(target, cls) or name in operations.RANDOM or stopped:
            raise writes(name)
        if name in {"setitem", "copy"}:
            index, new = args[1:3] if name == "setitem" else (..., args[1])
            new = new if isinstance(new, cls) else target.stopped(torch.as_tensor(new).to(target.value))
            result = target.push_all(with_item(index), [target, new])
            return target.become(target.stopped(result.value) if target.constant and new.constant else result)
        func, name = out_of_place(func, name)
        result = cls.followed(name, func, args, {k: v for k, v in kwargs.items() if k != "inplace"})
        moved = isinstance(result, cls) and result is not target and name != "detach"
        if moved and shared(result.value, target.value):
            raise ModelError(f"{name} in place changes a jet's shape. Use the one that returns a new tensor.")
        kind = target.value.dtype
        if not isinstance(result, cls) or result.constant:
            result = target.stopped((result.value if isinstance(result, cls) else result).to(kind))
        elif result.value.dtype != kind:
            result = result.push(*2 * (lambda t: t.to(kind),))
        return target.become(result)

    def become(self, other: Self) -> Self:
        """Take over the parts of another jet, for operations in place; so do all jets that share the memory."""
        if other.shape != self.shape:
            raise ModelError("An operation in place changed the shape inside a jet. Use one that returns a new tensor.")
        if self.source is None or other is self:
            self._take(other)
            return self
        base, view, cut = self.source
        if cut:
            raise writes("An operation in place after detach or in a no_grad block")
        base.become(base.push_all(with_view(view), [base, other]))
        return self

    def _take(self, other: Any) -> None:
        kept = self.source, self.views
        self.__dict__.update(other.__dict__)
        self.source, self.views = kept
        for reference in self.views:
            jet = reference()
            if jet is not None and jet.source is not None:
                _, view, cut = jet.source
                part = self.push(view, view)
                jet._take(self.stopped(part.value) if cut or self.constant else part)

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


def slots(func: Call, args: list[Any], kwargs: dict[str, Any]) -> tuple[Call, list[Any]]:
    """The operation as a function of what stands in the places of its carriers, and those carriers."""

    def call(*tensors: Tensor) -> Any:
        fill = iter(tensors)
        filled = mapped(lambda leaf: next(fill) if isinstance(leaf, Carrier) else leaf, (args, kwargs))
        return func(*filled[0], **filled[1])

    return call, _carriers((args, kwargs))


def _carriers(tree: Any) -> list[Carrier]:
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Carrier)]


def _value(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, Carrier) else leaf


def _note_views(jet: Carrier, call: Call, result: Any, cut: bool) -> None:
    """Let a jet and its views know of each other."""
    several = isinstance(result, tuple)
    for i, view in enumerate(result if several else [result]):
        if isinstance(view, Carrier) and view is not jet and shared(view.value, jet.value):
            view.source = jet, (lambda t, i=i: call(t)[i]) if several else call, cut
            jet.views.append(weakref.ref(view))
