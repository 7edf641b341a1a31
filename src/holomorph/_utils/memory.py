"""Where memory ends the batch halves itself, and says so."""

import logging
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

_log = logging.getLogger("holomorph")

T = TypeVar("T")


def halving(run: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Run on the batch; where memory ends, on its two halves.

    >>> halving(lambda x, y: x + y, torch.ones(3), torch.ones(3))
    tensor([2., 2., 2.])
    """
    return halving_with(torch.cat, run, *tensors)


def halving_with(join: Callable[[list[T]], T], run: Callable[..., T], *tensors: Tensor | None) -> T:
    """As :func:`halving`, for results of any kind; a tensor that is None stays so."""
    size = next(len(t) for t in tensors if t is not None)
    try:
        return run(*tensors)
    except (MemoryError, RuntimeError) as error:
        if size == 1 or not out_of_memory(error):
            raise
    half = size // 2
    _say(size, half)
    parts = slice(None, half), slice(half, None)
    return join([halving_with(join, run, *(None if t is None else t[part] for t in tensors)) for part in parts])


@cache
def _say(size: int, half: int) -> None:
    """Once is enough: an attack calls the model thousands of times."""
    _log.warning("Out of memory with a batch of %d; going on with %d. Give a smaller batch size.", size, half)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory, on the host or a device, is what an error is about."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text
