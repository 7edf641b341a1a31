"""A model of samples in the units of their features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from holomorph._utils.fingerprint import model_digest
from holomorph.contract.model import Differentiable
from holomorph.threats.features import Features


class InUnits(nn.Module):
    """A model of samples in units: frozen features give no gradient, and what rounding puts past a wall comes back."""

    def __init__(self, model: Differentiable, features: Features, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.features = features
        self.dtype = dtype
        self.differentiable = getattr(model, "differentiable", True)

    def forward(self, u: Tensor) -> Tensor:
        """Return the model's outputs."""
        f = self.features
        x = f.decode(torch.where(f.free.to(u.device), u, u.detach()))
        inside = x.detach().clamp(f.low.to(x.device), f.high.to(x.device))
        return self.model((x + (inside - x.detach())).to(self.dtype))

    def extra_repr(self) -> str:
        """Say which units, and of which model: kept batches must not be mixed."""
        f = self.features
        return f"{model_digest(self.model)}, {f.record()}"
