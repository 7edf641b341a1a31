r"""Dual numbers through a normalisation, a softmax: one node in the graph and torch's own kernels, few passes.

With the row $\hat x = r\,(x - \bar x)$, $r = (\operatorname{mean}(x-\bar x)^2 + \epsilon)^{-1/2}$, the derivative is

$$L t = r\,(t - \bar t - \hat x\,\langle\hat x, t\rangle), \qquad \langle a, b\rangle = \operatorname{mean}(a b),$$

symmetric, hence the kernel of the backward pass; and for $\tau = L t$ the gradient of $\langle u, L t\rangle$ in x is

$$-r\,(\langle\hat x, t\rangle\,L u + \langle\hat x, u\rangle\,\tau + \langle u, \tau\rangle\,\hat x).$$

For a softmax y the derivative is $S t = y\,(t - \sum y t)$, symmetric too.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vecdot
from torch.nn.functional import layer_norm

from holomorph.calculus.elementary import NormCall, standardise


def dual_layer_norm(
    x: Tensor,
    t: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """Value and tangent of ``torch.nn.functional.layer_norm``."""
    y, jv = _DualNorm.apply(x, t, weight, bias, math.prod(shape), eps)  # type: ignore[no-untyped-call]
    return y, jv


def dual_group_norm(
    x: Tensor, t: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Value and tangent of ``torch.nn.functional.group_norm``."""
    channel = (-1, *(1,) * (x.ndim - 2))
    scale, shift = (None if p is None else p.reshape(channel) for p in (weight, bias))
    y, jv = _DualNorm.apply(x, t, scale, shift, x[0].numel() // groups, eps)  # type: ignore[no-untyped-call]
    return y, jv


def frozen_batch_norm(given: NormCall) -> Any:
    """Batch normalisation of a jet: the affine map that it is once its statistics are fixed."""
    shape = (1, -1, *(1,) * (given.input.ndim - 2))
    scale = (given.running_var + given.eps).rsqrt() * (1 if given.weight is None else given.weight)
    shift = (0 if given.bias is None else given.bias) - given.running_mean * scale
    return given.input.push(
        lambda t: torch.addcmul(shift.reshape(shape), t, scale.reshape(shape)), lambda t: t * scale.reshape(shape)
    )


def dual_softmax(a: Tensor, t: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Value and tangent of ``torch.softmax``."""
    y, jv = _DualSoftmax.apply(a, t, dim)  # type: ignore[no-untyped-call]
    return y, jv


class _DualNorm(torch.autograd.Function):
    """Rows of n consecutive numbers standardised, then scaled and shifted by what broadcasts against x."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, t: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, eps: float
    ) -> tuple[Tensor, Tensor]:
        rows = x.reshape(-1, n)
        unit, slope = _value_and_slope(rows, eps)
        tau = slope(t.reshape(-1, n))
        ctx.n, ctx.eps = n, eps
        ctx.save_for_backward(x, t, weight, bias, unit, tau)
        ctx.set_materialize_grads(False)
        return _affine(unit.view_as(x), weight, bias), _affine(tau.view_as(x), weight, None)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, h: Tensor | None) -> tuple[Any, ...]:
        x, t, weight, bias, unit, tau = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (*_again(_elementary, (x, t, weight, bias), (ctx.n, ctx.eps), (g, h)), None, None)
        n, rows = ctx.n, x.reshape(-1, ctx.n)
        wanted = [None if u is None else _affine(u, weight, None).reshape(-1, n) for u in (g, h)]
        slope, u = _value_and_slope(rows, ctx.eps)[1], wanted[1]
        along_x, along_t = (None if w is None else slope(w) for w in wanted)
        if u is not None and along_t is not None:
            r = (rows.var(1, correction=0, keepdim=True) + ctx.eps).rsqrt()
            along_x = torch.zeros_like(rows) if along_x is None else along_x
            for other, a, b in ((along_t, unit, t.reshape(-1, n)), (tau, unit, u), (unit, tau, u)):
                along_x.addcmul_(other, r * vecdot(a, b)[:, None], value=-1 / n)
        shift = None if bias is None or g is None else g.sum_to_size(bias.shape)
        scale = None if weight is None else _paired(weight.shape, (g, unit.view_as(x)), (h, tau.view_as(x)))
        return _like(along_x, x), _like(along_t, x), scale, shift, None, None


class _DualSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, t: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        y = torch.softmax(a, dim)
        ctx.save_for_backward(a, t, y)
        ctx.dim = dim
        ctx.set_materialize_grads(False)
        return y, _softmax_slope(y, t, dim)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, h: Tensor | None) -> tuple[Any, ...]:
        a, t, y = ctx.saved_tensors
        dim = ctx.dim
        if torch.is_grad_enabled():
            return (*_again(_elementary_softmax, (a, t), (dim,), (g, h)), None)
        along_t, total = None, g
        if h is not None:  # the gradient of <h, y (t - sum y t)> in y is h (t - sum y t) - t sum y h
            along_t = _softmax_slope(y, h, dim)
            total = h * (t - vecdot(y, t, dim=dim).unsqueeze(dim))
            total.addcmul_(t, vecdot(y, h, dim=dim).unsqueeze(dim), value=-1)
            total = total if g is None else total.add_(g)
        along_a = None if total is None else _softmax_slope(y, total, dim)
        return along_a, along_t, None


def _value_and_slope(rows: Tensor, eps: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The standardised rows, and L: it is symmetric, so torch's own backward pass gives it."""
    with torch.enable_grad():
        point = rows.detach().requires_grad_()
        unit = layer_norm(point, rows.shape[1:], eps=eps)
    return unit.detach(), lambda t: torch.autograd.grad(unit, point, t, retain_graph=True)[0]


def _softmax_slope(y: Tensor, t: Tensor, dim: int) -> Tensor:
    """S t: symmetric too."""
    return torch.addcmul(y * t, y, vecdot(y, t, dim=dim).unsqueeze(dim), value=-1)


def _elementary(
    x: Tensor, t: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, eps: float
) -> tuple[Tensor, Tensor]:
    """The same in elementary operations, for third derivatives."""
    rows, along = x.reshape(-1, n), t.reshape(-1, n)
    unit = standardise(rows, [1], eps)
    r = (rows.var(1, correction=0, keepdim=True) + eps).rsqrt()
    tau = r * (along - along.mean(1, keepdim=True) - unit * (unit * along).mean(1, keepdim=True))
    return _affine(unit.view_as(x), weight, bias), _affine(tau.view_as(x), weight, None)


def _elementary_softmax(a: Tensor, t: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    y = torch.softmax(a, dim)
    return y, y * (t - (y * t).sum(dim, keepdim=True))


def _again(f: Any, inputs: tuple[Tensor | None, ...], settings: tuple[Any, ...], grads: Any) -> list[Tensor | None]:
    """The backward pass of f with a graph of its own."""
    outputs = [(o, g) for o, g in zip(f(*inputs, *settings), grads, strict=True) if g is not None and o.requires_grad]
    wanted = [i for i in inputs if i is not None and i.requires_grad]
    found = iter(
        torch.autograd.grad(
            [o for o, _ in outputs], wanted, [g for _, g in outputs], create_graph=True, allow_unused=True
        )
    )
    return [next(found) if i is not None and i.requires_grad else None for i in inputs]


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is None or bias is None:
        x = x if weight is None else x * weight
        return x if bias is None else x + bias
    return torch.addcmul(bias, x, weight)


def _paired(shape: torch.Size, *pairs: tuple[Tensor | None, Tensor]) -> Tensor | None:
    """The sum of the products, over what a parameter of this shape was broadcast to."""
    found = [(g, part) for g, part in pairs if g is not None]
    if not found:
        return None
    total = found[0][0] * found[0][1]
    for g, part in found[1:]:
        total.addcmul_(g, part)
    return total.sum_to_size(shape)


def _like(t: Tensor | None, x: Tensor) -> Tensor | None:
    return None if t is None else t.view_as(x)
