"""Where in a model something went wrong, and functions evaluated at complex points with errors that say so."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from holomorph.contract import Differentiable
from holomorph.errors import NotHolomorphicError


@contextmanager
def naming_the_module(model: Differentiable) -> Iterator[None]:
    """Put the name of the innermost module that was running before the sentence of a NotHolomorphicError."""
    running: list[nn.Module] = []

    def enter(module: nn.Module, _: Any) -> None:
        running.append(module)

    def leave(*_: Any) -> None:
        running.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        yield
    except NotHolomorphicError as error:
        if not running:
            raise
        names = {m: n for n, m in model.named_modules()} if isinstance(model, nn.Module) else {}
        name = names.get(running[-1])
        kind = type(running[-1]).__name__
        raise NotHolomorphicError(f"In module {f'{name!r} ({kind})' if name else kind}: {error}") from error
    finally:
        for handle in handles:
            handle.remove()


def at_complex(f: Differentiable, z: Tensor) -> Tensor:
    """f(z) by torch's own complex operations.

    Raises
    ------
    NotHolomorphicError
        For an operation that torch does not have for complex tensors, naming it and the module.
    """
    with naming_the_module(getattr(f, "function", f)):
        try:
            return f(z)
        except (NotImplementedError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            if "complex" not in reason.lower():
                raise
            raise NotHolomorphicError(
                f"{reason}. Use operations for complex tensors; of a real network, jets.analytic_extension gives the "
                f"extension."
            ) from error
