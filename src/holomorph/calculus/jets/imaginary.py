r"""Complex jets: real and imaginary part of a real-analytic network, evaluated off the real axis.

Real weights act on both parts separately, so a linear layer costs two real ones, not four. Everything else is
evaluated on the complex tensor, by torch where it can and by :mod:`holomorph.calculus.special` where it cannot;
operations that are not complex differentiable are refused by name.
"""

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from holomorph.calculus import special
from holomorph.calculus.jets import branches
from holomorph.calculus.jets.carrier import Carrier
from holomorph.calculus.jets.nested import mapped
from holomorph.calculus.jets.operations import PRODUCTS, QUOTIENTS, Call
from holomorph.errors import NotHolomorphicError

_LARGEST_POWER = 64
_LARGEST_JUMP = 1e-8  #: of softplus at its threshold: that of torch's default
_HOLOMORPHIC_IN_TORCH = (
    PRODUCTS
    | QUOTIENTS
    | frozenset(
        """exp sin cos tan sinh cosh tanh reciprocal square expm1 rtruediv rdiv rpow exp2 inverse
        linalg_inv""".split()  # noqa: SIM905
    )
)


class ComplexJet(Carrier):
    """Real part (the value whose shape others see) and imaginary part, both (batch, ...)."""

    imaginary: Tensor

    def __init__(self, value: Tensor, imaginary: Tensor) -> None:
        self.value, self.imaginary = value, imaginary

    def check(self) -> None:
        """Refuse custom functions, and values that no_grad cut off: their extension is not known."""
        super().check()
        if self.constant and torch.is_grad_enabled():
            raise NotHolomorphicError(
                "A no_grad block inside the function cuts its analytic extension. Compute that part with gradients on."
            )

    @property
    def z(self) -> Tensor:
        """Both parts as one complex tensor."""
        return torch.complex(self.value, self.imaginary)

    @classmethod
    def of(cls, z: Tensor) -> Self:
        """Take a complex tensor apart."""
        return cls(z.real, z.imag)

    def push(self, on_value: Call, on_parts: Call) -> Any:
        """Apply a map to the real part and its linear part to the imaginary one."""
        value, imaginary = on_value(self.value), on_parts(self.imaginary)
        if isinstance(value, Tensor) and not value.is_floating_point():
            raise NotHolomorphicError("A cast to whole numbers is not complex differentiable. Leave it out.")
        if isinstance(value, Tensor):
            return ComplexJet(value, imaginary)
        return tuple(ComplexJet(*parts) for parts in zip(value, imaginary, strict=True))

    def scaled(self, factor: float, shape: torch.Size) -> Self:
        """The imaginary part times a number, broadcast to a shape."""
        return type(self)(self.value, (factor * self.imaginary).expand(shape))

    def with_value(self, value: Tensor) -> Self:
        """The same imaginary part with another real part."""
        return type(self)(value, self.imaginary)

    @classmethod
    def pairwise(cls, value: Tensor, a: Self, b: Self, factors: tuple[float, float]) -> Self:
        """The sum of two jets, given its real part."""
        return cls(value, factors[0] * a.imaginary + factors[1] * b.imaginary)

    @classmethod
    def lift(cls, plain: Tensor, like: Any) -> Self:
        """A real constant."""
        return cls(plain, torch.zeros_like(plain))

    def push_all(self, op: Call, jets: list[Self]) -> Self:
        """Apply an operation that is linear in several jets together."""
        return type(self)(op(*(j.value for j in jets)), op(*(j.imaginary for j in jets)))

    @classmethod
    def composite(cls, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Elementary operations; a refusal names the operation that the network has, not its parts."""
        try:
            return super().composite(name, args, kwargs)
        except NotHolomorphicError as error:
            raise NotHolomorphicError(f"{name} cannot be extended: {error}") from error

    @classmethod
    def nonlinear(cls, name: str, func: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Closed complex forms, or a refusal."""
        rule = _RULES.get(name)
        if rule is not None:
            kwargs.pop("inplace", None)
            return _apart(rule(*(_together(a) for a in args), **{k: _together(a) for k, a in kwargs.items()}))
        if name not in _HOLOMORPHIC_IN_TORCH or kwargs.get("rounding_mode") is not None:
            raise NotHolomorphicError(
                f"{name} is not complex differentiable (or has no complex form here). Use analytic activations such as "
                f"GELU, SiLU, tanh, softplus, and average instead of maximum pooling."
            )
        args, kwargs = mapped(_promoted, (args, kwargs))
        return _apart(func(*args, **kwargs))


def _together(a: Any) -> Any:
    return a.z if isinstance(a, ComplexJet) else a


def _promoted(leaf: Any) -> Any:
    if isinstance(leaf, ComplexJet):
        return leaf.z
    return leaf.to(leaf.dtype.to_complex()) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def _apart(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(_apart(r) for r in result)
    return ComplexJet.of(result) if isinstance(result, Tensor) and result.is_complex() else result


def _power(z: Any, exponent: Any) -> Any:
    """Whole powers by products: torch's logarithm puts the rounding of Re z into Im z^k, which may be far smaller."""
    if not isinstance(z, Tensor) or not z.is_complex():  # a number to a complex power
        return torch.pow(z.to(exponent.dtype) if isinstance(z, Tensor) else z, exponent)
    if not isinstance(exponent, int | float) or exponent != int(exponent) or abs(exponent) > _LARGEST_POWER:
        return branches.power(z, exponent)
    k = abs(int(exponent))
    result = torch.ones_like(z)
    while k:
        result = result * z if k % 2 else result
        z, k = z * z, k // 2
    return result if exponent >= 0 else result.reciprocal()


def _softmax(z: Tensor, dim: int, *_: Any, **__: Any) -> Tensor:
    return special.softmax(z, dim)


def _softplus(z: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    if math.exp(-threshold) > _LARGEST_JUMP:
        raise NotHolomorphicError(
            f"softplus with threshold {threshold:g} is not analytic: it jumps to the identity where they still differ. "
            f"Use the usual threshold of 20."
        )
    return special.softplus(z, beta)


_RULES: dict[str, Callable[..., Any]] = {
    "pow": _power,
    "gelu": special.gelu,
    "silu": special.silu,
    "sigmoid": special.sigmoid,
    "erf": special.erf,
    "softplus": _softplus,
    "softmax": _softmax,
    "log": branches.log,
    "log1p": branches.log1p,
    "sqrt": branches.sqrt,
    "rsqrt": branches.rsqrt,
    "log_softmax": branches.continued_log_softmax,
    "logsumexp": branches.continued_logsumexp,
    "asinh": branches.inside_unit_strip(torch.asinh),
    "arcsinh": branches.inside_unit_strip(torch.asinh),
    "atan": branches.inside_unit_strip(torch.atan),
    "arctan": branches.inside_unit_strip(torch.atan),
}
