"""Whether torch's derivatives of an operation agree with each other when they are nested, forward and reverse."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from holomorph.calculus.draws import Draws
from holomorph.calculus.elementary import load_forward_mode
from holomorph.errors import ModelError

_Line = Callable[[Tensor], Tensor]
#: What was found of each operation, by its name: looked at once in a process, when it is first met.
_found: dict[str, bool] = {}


def check_nesting(name: str, call: Callable[..., Any], tensors: tuple[Tensor, ...]) -> None:
    r"""Compare the second and third derivatives of one operation along a random line, by every order of nesting.

    Some formulas of torch keep intermediate results as constants: the first derivative is right, and those of it are
    not, in forward mode (det, layer_norm) or in both. Here forward over forward, reverse over forward and reverse over
    reverse must give one number; what torch has no derivative for is not compared.

    Raises
    ------
    ModelError
        Naming the operation.
    """
    if name not in _found:
        _found[name] = _agrees(call, tensors)
    if not _found[name]:
        raise ModelError(
            f"torch's nested derivatives of {name} contradict each other, so a second derivative through it would be "
            f"wrong. Write {name} with other operations, or use a method with first derivatives only."
        )


def _agrees(call: Callable[..., Any], tensors: tuple[Tensor, ...]) -> bool:
    load_forward_mode()
    points = [t.detach() for t in tensors]
    draws = Draws(points[0])
    generator = torch.Generator().manual_seed(0)

    def draw(t: Tensor) -> Tensor:
        return torch.randn(t.shape, generator=generator, dtype=t.dtype).to(t.device)

    directions = [draw(p) for p in points]
    with torch.no_grad(), draws.again():
        weights = [draw(r) for r in _tensors(call(*points)) if r.is_floating_point()]

    def line(t: Tensor) -> Tensor:
        with draws.again(), sdpa_kernel(SDPBackend.MATH):
            result = call(*(p + t * d for p, d in zip(points, directions, strict=True)))
        floats = [r for r in _tensors(result) if r.is_floating_point()]
        return torch.stack([(w * r).sum() for w, r in zip(weights, floats, strict=True)]).sum()

    zero = torch.zeros((), dtype=points[0].dtype, device=points[0].device)
    f, r = _forward, _reverse
    tolerance = 1e-5 if zero.dtype == torch.float64 else 0.05
    with torch.enable_grad():
        for orders in ([f(f(line)), r(f(line)), r(r(line))], [r(f(f(line))), r(r(f(line))), r(r(r(line)))]):
            values = [v for v in (_number(g, zero) for g in orders) if v is not None]
            scale = max([abs(v) for v in values], default=0.0) + tolerance
            if values and max(values) - min(values) > tolerance * scale:
                return False
    return True


def _forward(g: _Line) -> _Line:
    def slope(t: Tensor) -> Tensor:
        found: Tensor = torch.func.jvp(g, (t,), (torch.ones_like(t),))[1]
        return found

    return slope


def _reverse(g: _Line) -> _Line:
    return torch.func.grad(g)


def _number(g: _Line, at: Tensor) -> float | None:
    """The value, None where torch has no such derivative or it is not finite."""
    try:
        value = float(g(at).detach())
    except (RuntimeError, NotImplementedError):
        return None
    return value if abs(value) < float("inf") else None


def _tensors(result: Any) -> list[Tensor]:
    items = result if isinstance(result, list | tuple) else [result]
    return [r for r in items if isinstance(r, Tensor)]
