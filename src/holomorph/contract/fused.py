"""Layers that torch computes in one piece, which has a first derivative only."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Let fused layers be computed in parts that can be differentiated again: attention, and recurrent layers."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if recurrent:
            stack.enter_context(_switched_off(torch.backends.mkldnn))
            stack.enter_context(_switched_off(torch.backends.cudnn))
        yield


@contextmanager
def _switched_off(backend: Any) -> Iterator[None]:
    before = backend.enabled
    try:
        backend.enabled = False
        yield
    finally:
        backend.enabled = before
