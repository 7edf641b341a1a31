"""Where jets go through a function: gradients are on inside, so that a no_grad block of the function can be told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

import torch

_graph: ContextVar[bool] = ContextVar("graph", default=True)


@contextmanager
def following() -> Iterator[None]:
    """Inside this context jets may go through a function; compiled modules run as they were before."""
    token = _graph.set(torch.is_grad_enabled())
    compiling = "torch._dynamo" in sys.modules  # else nothing was compiled, and loading it takes seconds
    eager = torch.compiler.set_stance("force_eager") if compiling else nullcontext()
    try:
        with torch.inference_mode(False), torch.enable_grad(), eager:
            yield
    finally:
        _graph.reset(token)


def graph_wanted() -> bool:
    """Whether the caller wants a graph for the parameters."""
    return _graph.get()
