"""Where in a model something went wrong, and functions evaluated at complex points with errors that say so."""

from __future__ import annotations

from types import TracebackType

from torch import Tensor, nn

from holomorph.contract import Differentiable
from holomorph.errors import NotHolomorphicError


def module_of(traceback: TracebackType | None, model: Differentiable) -> str | None:
    """The innermost module on the traceback, by its name inside the model."""
    innermost = None
    while traceback is not None:
        holder = traceback.tb_frame.f_locals.get("self")
        innermost = holder if isinstance(holder, nn.Module) else innermost
        traceback = traceback.tb_next
    if innermost is None:
        return None
    names = {m: n for n, m in model.named_modules()} if isinstance(model, nn.Module) else {}
    name = names.get(innermost)
    return f"module {name!r} ({type(innermost).__name__})" if name else f"module {type(innermost).__name__}"


def at_complex(f: Differentiable, z: Tensor) -> Tensor:
    """f(z) by torch's own complex operations.

    Raises
    ------
    NotHolomorphicError
        For an operation that torch does not have for complex tensors, naming it and the module.
    """
    try:
        return f(z)
    except (NotImplementedError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        if "complex" not in reason.lower():
            raise
        where = module_of(error.__traceback__, f)
        raise NotHolomorphicError(
            f"{f'In {where}: ' if where else ''}{reason}. Use operations for complex tensors; of a real network, "
            f"jets.complexify gives its analytic extension."
        ) from error
