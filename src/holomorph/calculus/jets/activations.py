r"""Activations $\phi$ with their first two derivatives, and the dual number of one, $(\phi(a), \phi'(a)\,t)$, fused."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Activation(NamedTuple):
    r"""One activation as functions of the argument a and the value y, with the settings already bound.

    ``bend`` is None where $\phi''$ is zero almost everywhere, else it makes a fresh tensor.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    bend: Callable[[Tensor, Tensor], Tensor] | None

    def value_and_slope(self, a: Tensor) -> tuple[Tensor, Tensor]:
        r"""$(\phi(a), \phi'(a))$ without a graph, by the kernel of torch's own backward pass."""
        with torch.enable_grad():
            point = a.detach().requires_grad_()
            y = self.value(point)
            one = torch.ones((), dtype=a.dtype, device=a.device).expand(a.shape)
            return y.detach(), torch.autograd.grad(y, point, one)[0]


def activation_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation | None:
    """The activation of a torch function with these settings, or None if it is not in the table."""
    kwargs = {k: v for k, v in kwargs.items() if k != "inplace"}
    factory = _SETTINGS.get(name)
    if factory is not None:
        return factory(*args, **kwargs)
    return _TABLE.get(name) if not args and not kwargs else None


class _DualActivation(torch.autograd.Function):
    @staticmethod
    def forward(a: Tensor, t: Tensor, phi: Activation) -> tuple[Tensor, Tensor, Tensor]:
        y, slope = phi.value_and_slope(a)
        return y, slope * t, slope

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        a, t, ctx.phi = inputs
        y, _, slope = output
        ctx.save_for_backward(a, t, y, slope)
        ctx.mark_non_differentiable(slope)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
        a, t, y, slope = ctx.saved_tensors
        phi: Activation = ctx.phi
        g, h, _ = grads
        if torch.is_grad_enabled():
            slope = phi.slope(a, y)
        along = slope * h if h is not None and ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, along, None
        total = slope * g if g is not None else torch.zeros_like(a)
        if h is None or phi.bend is None:
            return total, along, None
        bend = phi.bend(a, y)
        if torch.is_grad_enabled():
            return torch.addcmul(total, bend * t, h), along, None
        return total.addcmul_(bend.mul_(t), h), along, None  # fresh tensors: in place saves two passes over memory


def dual_activation(phi: Activation, a: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    r"""$(\phi(a), \phi'(a)\,t)$ with one node in the graph; twice differentiable."""
    y, jv, _ = _DualActivation.apply(a, t, phi)  # type: ignore[no-untyped-call]
    return y, jv


def _gelu(approximate: str = "none") -> Activation:
    if approximate == "tanh":
        return Activation(
            lambda a: F.gelu(a, approximate="tanh"), lambda a, y: _tanh_gelu(a)[0], lambda a, y: _tanh_gelu(a)[1]
        )
    return Activation(F.gelu, lambda a, y: 0.5 * (1 + torch.erf(a / math.sqrt(2))) + a * _density(a), _gelu_bend)


def _gelu_bend(a: Tensor, y: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        return _density(a) * (2 - a * a)
    square = a * a
    twice = torch.rsub(square, math.log(2 / math.sqrt(2 * math.pi)), alpha=0.5).exp_()  # 2 phi(a), phi the density
    return twice.addcmul_(square, twice, value=-0.5)


def _density(a: Tensor) -> Tensor:
    return torch.exp(-0.5 * a * a) * (1 / math.sqrt(2 * math.pi))


def _tanh_gelu(a: Tensor) -> tuple[Tensor, Tensor]:
    c, d = math.sqrt(2 / math.pi), 0.044715
    u1 = c * (1 + 3 * d * a * a)
    th = torch.tanh(c * (a + d * a**3))
    fall = 1 - th * th
    return 0.5 * (1 + th) + 0.5 * a * fall * u1, fall * (u1 - a * th * u1 * u1 + 3 * c * d * a * a)


def _silu() -> Activation:
    def bend(a: Tensor, y: Tensor) -> Tensor:
        s = torch.sigmoid(a)
        if torch.is_grad_enabled():
            return s * (1 - s) * (2 + a * (1 - 2 * s))
        fall = torch.addcmul(s, s, s, value=-1)
        return s.mul_(-2).add_(1).mul_(a).add_(2).mul_(fall)

    def slope(a: Tensor, y: Tensor) -> Tensor:
        s = torch.sigmoid(a)
        return s * (1 + a * (1 - s))

    return Activation(F.silu, slope, bend)


def _softplus(beta: float = 1.0, threshold: float = 20.0) -> Activation:
    def slope(a: Tensor, y: Tensor) -> Tensor:  # 1 beyond the threshold, where torch's softplus is the identity
        return torch.where(beta * a > threshold, torch.ones_like(a), torch.sigmoid(beta * a))

    def bend(a: Tensor, y: Tensor) -> Tensor:
        s = slope(a, y)
        return beta * s * (1 - s)

    return Activation(lambda a: F.softplus(a, beta, threshold), slope, bend)


def _leaky_relu(negative_slope: float = 0.01) -> Activation:
    return Activation(
        lambda a: F.leaky_relu(a, negative_slope), lambda a, y: torch.where(a > 0, 1.0, negative_slope).to(a), None
    )


def _elu(alpha: float = 1.0) -> Activation:
    return Activation(
        lambda a: F.elu(a, alpha),
        lambda a, y: torch.where(a > 0, torch.ones_like(y), y + alpha),
        lambda a, y: torch.where(a > 0, torch.zeros_like(y), y + alpha),
    )


def _power(exponent: Any) -> Activation | None:
    if not isinstance(exponent, int | float):
        return None
    p = exponent
    if p in (0, 1):
        return Activation(lambda a: a**p, lambda a, y: torch.full_like(a, p), None)
    return Activation(lambda a: a**p, lambda a, y: p * a ** (p - 1), lambda a, y: p * (p - 1) * a ** (p - 2))


def _relu() -> Activation:
    return Activation(torch.relu, lambda a, y: (a > 0).to(a.dtype), None)


_SETTINGS: dict[str, Callable[..., Activation | None]] = {
    "gelu": _gelu,
    "softplus": _softplus,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "pow": _power,
}

_TABLE: dict[str, Activation] = {
    "relu": _relu(),
    "silu": _silu(),
    "tanh": Activation(torch.tanh, lambda a, y: 1 - y * y, lambda a, y: -2 * y * (1 - y * y)),
    "sigmoid": Activation(torch.sigmoid, lambda a, y: y * (1 - y), lambda a, y: y * (1 - y) * (1 - 2 * y)),
    "exp": Activation(torch.exp, lambda a, y: y, lambda a, y: y.clone()),
    "log": Activation(torch.log, lambda a, y: 1 / a, lambda a, y: -1 / (a * a)),
    "sin": Activation(torch.sin, lambda a, y: torch.cos(a), lambda a, y: -y),
    "cos": Activation(torch.cos, lambda a, y: -torch.sin(a), lambda a, y: -y),
    "sinh": Activation(torch.sinh, lambda a, y: torch.cosh(a), lambda a, y: y.clone()),
    "cosh": Activation(torch.cosh, lambda a, y: torch.sinh(a), lambda a, y: y.clone()),
    "erf": Activation(
        torch.erf,
        lambda a, y: torch.exp(-a * a) * (2 / math.sqrt(math.pi)),
        lambda a, y: -2 * a * torch.exp(-a * a) * (2 / math.sqrt(math.pi)),
    ),
    "sqrt": Activation(torch.sqrt, lambda a, y: 0.5 / y, lambda a, y: -0.25 / (y * a)),
    "rsqrt": Activation(torch.rsqrt, lambda a, y: -0.5 * y / a, lambda a, y: 0.75 * y / (a * a)),
    "reciprocal": Activation(torch.reciprocal, lambda a, y: -y * y, lambda a, y: 2 * y * y * y),
    "square": Activation(lambda a: a * a, lambda a, y: 2 * a, lambda a, y: torch.full_like(a, 2.0)),
}
