"""What went through ``torch.compile``: how it is known, and how it runs as it was written."""

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import nn


def is_compiled(model: nn.Module) -> bool:
    """Whether the network, or a part of it, went through ``torch.compile``."""
    return bool(compiled_parts(model.modules()))


def compiled_parts(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Those that went through ``torch.compile``, wrapped or in place."""
    return [m for m in modules if as_written(m) is not m or _in_place(m)]


def _in_place(module: nn.Module) -> bool:
    """Whether a module holds what it leaves out of a file: the call that ``module.compile()`` has made."""
    saved = nn.Module.__getstate__(module)  # type: ignore[no-untyped-call]
    return not vars(module).keys() <= saved.keys()


def as_written(module: Any) -> Any:
    """The module inside the wrapper of ``torch.compile``; any other is its own.

    >>> layer = nn.Linear(2, 2)
    >>> as_written(layer) is layer
    True
    """
    inside = dict(module.named_children()).get("_orig_mod") if isinstance(module, nn.Module) else None
    return module if inside is None else inside


def eagerly() -> AbstractContextManager[None]:
    """Inside this context compiled modules run as they were written.

    Compiled code allows one derivative of a pass, and is compiled anew for further shapes: attacks and explanations,
    whose batches shrink, need neither. Values are then those of the network before it was compiled.

    >>> with eagerly():
    ...     float(nn.Identity()(torch.ones(())))
    1.0
    """
    if "torch._dynamo" not in sys.modules:  # else nothing was compiled, and loading it takes seconds
        return nullcontext()
    return cast(AbstractContextManager[None], torch.compiler.set_stance("force_eager"))
