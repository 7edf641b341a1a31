"""The rogues' gallery: models that look robust to a careless evaluation, all built around one honest network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ZeroGradient(nn.Module):
    """Passes the input on and swallows the gradient."""

    class _Swallow(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            return torch.zeros_like(grads[0])

    def __init__(self, honest: nn.Module) -> None:
        super().__init__()
        self.honest = honest

    def forward(self, x: Tensor) -> Tensor:
        return self.honest(self._Swallow.apply(x))


class Reversed(ZeroGradient):
    """Turns the gradient round: ascent descends."""

    class _Swallow(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            return -grads[0]


class Loud(nn.Module):
    """Logits times 1000: the softmax saturates and the cross-entropy has no gradient left."""

    def __init__(self, honest: nn.Module) -> None:
        super().__init__()
        self.honest = honest

    def forward(self, x: Tensor) -> Tensor:
        return 1000 * self.honest(x)


class Probabilities(Loud):
    """Softmax at the output."""

    def forward(self, x: Tensor) -> Tensor:
        return self.honest(x).softmax(1)


class Noisy(Loud):
    """Noise in the forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        return self.honest(x + 0.1 * torch.randn_like(x))


class Quantising(Loud):
    """Rounds the input to 17 levels: a staircase with zero gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return self.honest((16 * x).round() / 16)


class WrongRange(Loud):
    """Takes inputs in [0, 255] but is attacked with an eps meant for [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return self.honest(x / 255)


class OptimisesInside(Loud):
    """Runs gradient steps on its own input before it answers."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            z = x.detach().clone().requires_grad_()
            (g,) = torch.autograd.grad(self.honest(z).logsumexp(1).sum(), z)
        return self.honest(x + 0.02 * g.sign())


class Detached(Loud):
    """Cuts the graph."""

    def forward(self, x: Tensor) -> Tensor:
        return self.honest(x.detach())


class BatchDependent(Loud):
    """Centres the logits by the batch: a prediction depends on its company."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.honest(x)
        return z - 0.9 * z.mean(0, keepdim=True)


class Learns(Loud):
    """Keeps count of what it has seen, and grows surer with every pass."""

    def __init__(self, honest: nn.Module) -> None:
        super().__init__(honest)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return self.honest(x)


class Shattered(Loud):
    """Adds a fast ripple to the input: gradients point nowhere, predictions hardly change."""

    def forward(self, x: Tensor) -> Tensor:
        return self.honest(x + 0.02 * (2000 * x).sin())
