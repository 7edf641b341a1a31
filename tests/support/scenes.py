"""A small honest classifier, its undefended baseline, and samples: the digits in float32, labels 0 to 9."""

from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from holomorph.threats import ThreatModel

THREAT = ThreatModel("inf", 0.1)


class Scene(NamedTuple):
    """What most tests attack."""

    honest: nn.Module
    baseline: nn.Module
    x: Tensor
    y: Tensor


def halves(x: Tensor) -> Tensor:
    """Two classes: which of two coordinates is larger; the l_inf distance is half their difference."""
    return torch.stack([x[:, 0], x[:, 1]], 1)


X = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.52, 0.48], [0.3, 0.7], [0.5, 0.6]])
Y = torch.tensor([0, 0, 0, 1, 0])  # the last one is wrong before any attack


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


def digits(rows: slice) -> tuple[Tensor, Tensor]:
    """Some of scikit-learn's digits as rows of 64 numbers in [0, 1]."""
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x[rows] / 16, dtype=torch.float32), torch.tensor(y[rows])


def staged() -> Scene:
    """Train the honest network and its baseline."""
    seen = digits(slice(1400))
    return Scene(train(*seen, 0.1), train(*seen, 0.0), *digits(slice(1400, 1440)))
