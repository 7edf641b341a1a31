"""Where jets go through a function: gradients are on inside, so that a no_grad block of the function can be told."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from holomorph.contract.compiled import eagerly

_graph: ContextVar[bool] = ContextVar("graph", default=True)


@contextmanager
def following() -> Iterator[None]:
    """Inside this context jets may go through a function; compiled modules run as they were before."""
    token = _graph.set(torch.is_grad_enabled())
    try:
        with torch.inference_mode(False), torch.enable_grad(), eagerly():
            yield
    finally:
        _graph.reset(token)


def graph_wanted() -> bool:
    """Whether the caller wants a graph for the parameters."""
    return _graph.get()
