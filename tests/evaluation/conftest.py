"""A small honest classifier, its undefended twin, and samples: the digits in float32, labels 0 to 9."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from holomorph.types import ThreatModel

THREAT = ThreatModel("inf", 0.1)


class Scene(NamedTuple):
    """What most tests attack."""

    honest: nn.Module
    twin: nn.Module
    x: Tensor
    y: Tensor


def train(x: Tensor, y: Tensor, eps: float, epochs: int = 40, model: nn.Module | None = None) -> nn.Module:
    """A smooth network; with eps, on one-step adversarial inputs (no collapse at this eps: see the alignment check)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model or nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 10))
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).chunk(7):
                z = x[rows].clone().requires_grad_()
                if eps:
                    (g,) = torch.autograd.grad(nn.functional.cross_entropy(model(z), y[rows]), z)
                    z = (z.detach() + eps * g.sign()).clamp(0, 1)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(z.detach()), y[rows]).backward()
                optimizer.step()
    return model


@pytest.fixture(scope="session")
def scene() -> Scene:
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    return Scene(train(x[:1400], y[:1400], 0.1), train(x[:1400], y[:1400], 0.0), x[1400:1440], y[1400:1440])
