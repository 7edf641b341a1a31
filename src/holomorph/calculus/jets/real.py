r"""Real jets: the value, m directional derivatives, and if wanted the sum of the second derivatives along them.

With m = 1 and no second part these are dual numbers; with all n unit vectors and the second part this is the forward
Laplacian.
"""

import warnings
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from holomorph.calculus.draws import Draws
from holomorph.calculus.elementary import forward_mode
from holomorph.calculus.jets.activations import Activation, activation_of, dual_activation
from holomorph.calculus.jets.carrier import Carrier, slots
from holomorph.calculus.jets.nested import leaves, mapped
from holomorph.calculus.jets.normalisation import dual_group_norm, dual_layer_norm, dual_softmax
from holomorph.calculus.jets.operations import DETACHING, PRODUCTS, Call, is_float
from holomorph.calculus.missing import check_derivative
from holomorph.calculus.nesting import check_nesting
from holomorph.calculus.products import power_of_tensors
from holomorph.errors import ModelError

_FUSED: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {"layer_norm": dual_layer_norm, "group_norm": dual_group_norm}


class Jet(Carrier):
    """value (batch, ...), first (m, batch, ...), second (batch, ...) or None."""

    first: Tensor
    second: Tensor | None

    def __init__(self, value: Tensor, first: Tensor, second: Tensor | None = None) -> None:
        self.value, self.first, self.second = value, first, second

    def push(self, on_value: Call, on_parts: Call) -> Any:
        """Apply a map to the value and its linear part to the derivatives."""
        value = on_value(self.value)
        if isinstance(value, Tensor) and not value.is_floating_point():
            return _real("a cast with to or type", value)
        second = None if self.second is None else on_parts(self.second)
        return _pack(value, _each(on_parts, self.first), second)

    def push_affine(self, on_value: Call, on_parts: Call) -> Any:
        """The same for a layer; directions that are one for all samples (the unit vectors) pass through it once."""
        shared = len(self.first) > 1 and self.value.ndim > 1 and self.first.stride(1) == 0
        if not shared:
            return self.push(on_value, on_parts)
        value, once = on_value(self.value), _each(on_parts, self.first[:, :1])
        second = None if self.second is None else on_parts(self.second)
        return Jet(value, once.expand(len(once), *value.shape), second)

    def scaled(self, factor: float, shape: torch.Size) -> Self:
        """The derivatives times a number, broadcast to a shape."""
        first = _broadcast(_times(factor, self.first), shape, 1)
        return type(self)(self.value, first, None if self.second is None else _times(factor, self.second).expand(shape))

    def with_value(self, value: Tensor) -> Self:
        """The same derivatives with another value."""
        return type(self)(value, self.first, self.second)

    @classmethod
    def pairwise(cls, value: Tensor, a: Self, b: Self, factors: tuple[float, float]) -> Self:
        """The sum of two jets, given its value."""
        left, right = a.scaled(factors[0], value.shape), b.scaled(factors[1], value.shape)
        second = None if left.second is None or right.second is None else left.second + right.second
        return cls(value, left.first + right.first, second)

    @classmethod
    def lift(cls, plain: Tensor, like: Any) -> Self:
        """A constant as a jet with derivatives zero."""
        first = plain.new_zeros(()).expand(len(like.first), *plain.shape)
        return cls(plain, first, None if like.second is None else torch.zeros_like(plain))

    def push_all(self, op: Call, jets: list[Self]) -> Self:
        """Apply an operation that is linear in several jets together."""
        first = _each(op, *(j.first for j in jets))
        second = None if self.second is None else op(*(j.second for j in jets))
        return type(self)(op(*(j.value for j in jets)), first, second)

    @classmethod
    def composite(cls, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Dual numbers through a normalisation in one node; everything else in elementary operations."""
        others = [*args[1:], *kwargs.values()]
        if name not in _FUSED or not args or any(isinstance(o, Jet) for o in others) or not _is_dual(args[0]):
            return super().composite(name, args, kwargs)
        y, t = _FUSED[name](args[0].value, args[0].first.squeeze(0), *args[1:], **kwargs)
        return Jet(y, t[None])

    @classmethod
    def nonlinear(cls, name: str, func: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Activations by their derivatives, products by Leibniz, all else by torch's forward mode of that one call."""
        if name in DETACHING:
            return args[0].stopped(args[0].value.detach())
        call, carriers = slots(func, args, kwargs)
        if len(carriers) == 1 and args and args[0] is carriers[0]:
            if name == "softmax" and carriers[0].second is None:
                return _softmax(carriers[0], *args[1:2], **kwargs)
            phi = activation_of(name, tuple(args[1:]), kwargs)
            if phi is not None:
                return _activate(phi, carriers[0])
        if name in PRODUCTS and len(carriers) == 2:
            return _leibniz(call, *carriers)
        check_derivative(name)
        if name == "pow" and isinstance(args[1], Jet):
            return power_of_tensors(torch.as_tensor(args[0]), args[1])
        return _forward_mode(name, call, carriers)


def _is_dual(jet: Jet) -> bool:
    """Whether there is one direction and no second part."""
    return jet.second is None and len(jet.first) == 1


def _activate(phi: Activation, jet: Jet) -> Jet:
    a = jet.value
    if _is_dual(jet):
        y, t = dual_activation(phi, a, jet.first.squeeze(0))
        return Jet(y, t[None])
    y = phi.value(a)
    slope = phi.slope(a, y)
    first = slope * jet.first
    if jet.second is None:
        return Jet(y, first)
    second = slope * jet.second
    if phi.bend is not None:
        second = second + phi.bend(a, y) * _sum_of_squares(jet.first)
    return Jet(y, first, second)


def _softmax(jet: Jet, dim: int | None = None, dtype: torch.dtype | None = None, **_: Any) -> Jet:
    r"""$\dot y = y\,(\dot a - \langle y, \dot a\rangle)$: in one pass for all directions."""
    if dim is None:  # as torch chooses
        dim = 0 if jet.value.ndim in (0, 1, 3) else 1
    if dtype is not None:
        jet = jet.push(*2 * (lambda t: t.to(dtype),))
    dim = dim % jet.value.ndim - jet.value.ndim
    if _is_dual(jet):
        y, t = dual_softmax(jet.value, jet.first.squeeze(0), dim)
        return Jet(y, t[None])
    y = torch.softmax(jet.value, dim)
    return Jet(y, y * (jet.first - (y * jet.first).sum(dim, keepdim=True)))


def _leibniz(call: Call, a: Jet, b: Jet) -> Jet:
    first = _each(lambda t: call(t, b.value), a.first) + _each(lambda t: call(a.value, t), b.first)
    second = None
    if a.second is not None:
        mixed = torch.vmap(call)(a.first, b.first).sum(0)
        second = call(a.second, b.value) + 2 * mixed + call(a.value, b.second)
    return Jet(call(a.value, b.value), first, second)


def _forward_mode(name: str, call: Call, jets: list[Jet]) -> Any:
    """One operation by torch.func.jvp, twice nested for the second part."""
    values = tuple(j.value for j in jets)
    draws = Draws(values[0])
    result = call(*values)
    if not any(is_float(_real(name, leaf)) for leaf in leaves(result)):
        return result

    def smooth(*tensors: Tensor) -> tuple[Tensor, ...]:
        with draws.again():
            return tuple(leaf for leaf in leaves(call(*tensors)) if is_float(leaf))

    check_nesting(name, smooth, values)

    def named(f: Call, directions: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        try:
            return forward_mode(f, values, directions)[1]
        except (ModelError, RuntimeError) as error:
            raise ModelError(f"A jet cannot follow {name}: {error}") from error

    def along(*directions: Tensor) -> tuple[Tensor, ...]:
        return named(smooth, directions)

    def twice(*directions: Tensor) -> tuple[Tensor, ...]:
        return named(lambda *t: torch.func.jvp(smooth, t, directions)[1], directions)

    firsts = _each(along, *(j.first for j in jets))
    seconds: list[Tensor | None] = [None] * len(firsts)
    if jets[0].second is not None:
        bent = [s.sum(0) for s in _each(twice, *(j.first for j in jets))]
        seconds = [p + q for p, q in zip(along(*(j.second for j in jets if j.second is not None)), bent, strict=True)]
    parts = zip(firsts, seconds, strict=True)
    return mapped(lambda leaf: Jet(leaf, *next(parts)) if is_float(leaf) else leaf, result)


def _pack(value: Any, first: Any, second: Any) -> Any:
    """Jets from tensors, or tuples of jets from tuples of tensors (chunk, split, unbind)."""
    if isinstance(value, Tensor):
        return Jet(value, first, second)
    seconds = [None] * len(value) if second is None else second
    return tuple(Jet(*parts) for parts in zip(value, first, seconds, strict=True))


def _each(op: Call, *directions: Tensor) -> Any:
    """Apply an operation to each of the m directions."""
    if len(directions[0]) == 1:
        result = op(*(d.squeeze(0) for d in directions))  # unlike d[0], its backward pass copies nothing
        return result[None] if isinstance(result, Tensor) else tuple(r[None] for r in result)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")  # where torch has no batched kernel: no fault
        return torch.vmap(op, randomness="same")(*directions)


def _sum_of_squares(first: Tensor) -> Tensor:
    return first.square().sum(0)


def _times(factor: float, t: Tensor) -> Tensor:
    return t if factor == 1.0 else factor * t


def _broadcast(t: Tensor, shape: torch.Size, leading: int) -> Tensor:
    """Broadcast all but the leading axes to a shape."""
    if t.shape[leading:] == shape:
        return t
    fill = (1,) * (len(shape) - t.ndim + leading)
    return t.reshape(*t.shape[:leading], *fill, *t.shape[leading:]).expand(*t.shape[:leading], *shape)


def _real(name: str, leaf: Any) -> Any:
    """The leaf, refused if it is a tensor of complex numbers."""
    if isinstance(leaf, Tensor) and leaf.is_complex():
        raise ModelError(
            f"A jet of real numbers cannot follow the complex tensors that {name} makes. Use input_gradient, jacobian "
            f"or another energy method."
        )
    return leaf
