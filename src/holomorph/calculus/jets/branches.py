r"""Logarithms and roots off the real axis, continued analytically from the real point instead of cut.

$h(x + iy)$ means the continuation of h along $x + isy$, s from 0 to 1. Where a function with several branches is met,
the network is evaluated on the whole path at once and the turns of the argument around 0 are counted; steps that turn
it by more than $\pi/4$ are halved and the evaluation repeated.
"""

import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from holomorph.errors import DomainError, ModelError

_STEPS = (0, 8, 32, 128, 512)
_LARGEST_TURN = math.pi / 4


class _UnresolvedError(Exception):
    """The turns cannot be counted with so few steps."""


class _Path:
    """The steps of the path, the samples on it, and whether it is so short that no branch can be left."""

    def __init__(self, steps: int, samples: int, short: bool) -> None:
        self.steps, self.samples, self.short = steps, samples, short


_path: ContextVar[_Path | None] = ContextVar("path", default=None)


def continued(evaluate: Callable[[Tensor, Tensor], Any], x: Tensor, y: Tensor) -> Any:
    """``evaluate(x, y)``, or the end of ``evaluate`` on the path from (x, 0) to (x, y).

    Raises
    ------
    DomainError
        Where the argument of a logarithm or a root passes so near to 0 that the branch remains unknown.
    """
    short = bool((y.detach().abs().amax() <= 1e-5 * (1 + x.detach().abs().amax())).all())
    for steps in _STEPS:
        token = _path.set(_Path(steps, len(x), short))
        try:
            if steps == 0:
                return evaluate(x, y)
            share = torch.linspace(0, 1, steps + 1, dtype=x.dtype, device=x.device).reshape(-1, *(1,) * x.ndim)
            whole = evaluate(x.expand(steps + 1, *x.shape).flatten(0, 1), (share * y).flatten(0, 1))
            return whole[-len(x) :]
        except _UnresolvedError:
            continue
        finally:
            _path.reset(token)
    raise DomainError(
        f"The argument of a logarithm or a root passes a zero on the way from the real point, so its branch is unknown "
        f"even with {_STEPS[-1]} steps. Use a smaller radius or imaginary part."
    )


def turns(z: Tensor) -> Tensor:
    """How often z has turned around 0 beyond the principal branch, from a positive number; real, of the shape of z."""
    path = _path.get()
    plain = z.detach()
    if path is None:
        return torch.zeros_like(plain.real)
    if path.steps == 0:
        if path.short and bool(((plain.real > 0) & (plain.imag.abs() <= 1e-2 * plain.real)).all()):
            return torch.zeros_like(plain.real)
        raise _UnresolvedError
    line = _along(plain, path)
    if bool((line[0].real <= 0).any()):
        raise DomainError("A logarithm or a root of a number that is not positive has no analytic extension.")
    steps = torch.angle(line[1:] / line[:-1])
    if bool((steps.abs() > _LARGEST_TURN).any()) or not bool(torch.isfinite(steps).all()):
        raise _UnresolvedError
    whole = torch.cat([torch.zeros_like(steps[:1]), steps.cumsum(0)])
    return ((whole - torch.angle(line)) / (2 * math.pi)).round().flatten(0, 1)


def _along(z: Tensor, path: _Path) -> Tensor:
    """(steps + 1, samples, ...)."""
    if z.ndim == 0 or len(z) != (path.steps + 1) * path.samples:
        raise ModelError(
            "A logarithm or a root inside the function does not keep the samples in its first dimension, so its branch "
            "cannot be followed. Move them there."
        )
    return z.reshape(path.steps + 1, path.samples, *z.shape[1:])


def log(z: Tensor) -> Tensor:
    """The logarithm."""
    return torch.log(z) + 2j * math.pi * turns(z)


def log1p(z: Tensor) -> Tensor:
    """log(1 + z)."""
    return torch.log1p(z) + 2j * math.pi * turns(1 + z)


def sqrt(z: Tensor) -> Tensor:
    """The square root."""
    return torch.sqrt(z) * (1 - 2 * (turns(z) % 2))


def rsqrt(z: Tensor) -> Tensor:
    """One over the square root."""
    return torch.rsqrt(z) * (1 - 2 * (turns(z) % 2))


def power(z: Tensor, exponent: Any) -> Tensor:
    """A power that is not whole."""
    count = turns(z)
    return torch.pow(z, exponent) * torch.exp(2j * math.pi * count * exponent)


def continued_logsumexp(z: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """log of the sum of exponentials."""
    top = z.real.amax(dim, keepdim=True).detach()
    total = log(torch.exp(z - top).sum(dim, keepdim=True)) + top
    return total if keepdim else total.squeeze(dim)


def continued_log_softmax(z: Tensor, dim: int, *_: Any, **__: Any) -> Tensor:
    """Its arguments minus their logsumexp."""
    return z - continued_logsumexp(z, dim, keepdim=True)


def inside_unit_strip(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """For asinh and atan, which branch at i and -i: refused where the path leaves |Im z| < 1."""

    def checked(z: Tensor) -> Tensor:
        path = _path.get()
        height = z.detach().imag.abs()
        if path is not None and path.steps == 0 and not (path.short and bool((height < 0.5).all())):
            raise _UnresolvedError
        if bool((height >= 1).any()):
            raise DomainError("asinh and atan are analytic for |Im z| < 1 only. Use a smaller imaginary part.")
        return function(z)

    return checked
