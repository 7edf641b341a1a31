"""The model is a guest: evaluation mode, single precision, and nothing of it changed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from holomorph.contract import Differentiable


class InSingle(nn.Module):
    """A model in half precision as a function of inputs in single: a distance and a radius need the digits."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        self.differentiable = getattr(model, "differentiable", True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the model's outputs."""
        return self.model(x.to(self.dtype))


def in_single(model: Differentiable) -> Differentiable:
    """The model itself, or one in half precision as :class:`InSingle`."""
    first = _first(model)
    if isinstance(model, nn.Module) and first is not None and first.dtype in (torch.float16, torch.bfloat16):
        return InSingle(model, first.dtype)
    return model


def suited(model: Differentiable, values: Tensor) -> Tensor:
    """Move values to the model's device and, where both are floating point, to its precision."""
    first = _first(model)
    if first is None:
        return values
    floating = first.is_floating_point() and values.is_floating_point()
    own = torch.float32 if isinstance(model, InSingle) else first.dtype
    return values.to(first.device, own if floating else values.dtype)


def _first(model: Differentiable) -> nn.Parameter | None:
    return next(model.parameters(), None) if isinstance(model, nn.Module) else None


@contextmanager
def under_attack(model: Differentiable) -> Iterator[None]:
    """Put a model in evaluation mode with fixed parameters, and give every module its own state back.

    Attacks such as FAB call ``backward``: with the parameters fixed nothing is added to their gradients.
    The global random state is given back too, since attack packages seed it.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    parameters = [p for module in modules for p in module.parameters(recurse=False)]
    modes = [module.training for module in modules]
    wanted = [p.requires_grad for p in parameters]
    try:
        for module in modules:
            module.training = False
        for p in parameters:
            p.requires_grad_(False)
        with torch.random.fork_rng(devices=_cuda_devices()):
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for p, want in zip(parameters, wanted, strict=True):
            p.requires_grad_(want)


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
