"""The rogues' gallery: models that look robust to a careless evaluation, all built around one honest network."""

import tempfile
from typing import Any

import torch
from torch import Tensor, nn


class FalseGradient(torch.autograd.Function):
    """Passes the input on, and the gradient a number of times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, times: float) -> Tensor:
        ctx.times = times
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return ctx.times * grads[0], None


class ZeroGradient(nn.Module):
    """Passes the input on and swallows the gradient."""

    times = 0.0

    def __init__(self, honest: nn.Module) -> None:
        super().__init__()
        self.honest = honest

    def forward(self, x: Tensor) -> Tensor:
        return self.honest(FalseGradient.apply(x, self.times))


class Reversed(ZeroGradient):
    """Turns the gradient round: ascent descends."""

    times = -1.0


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


class Remembers(Loud):
    """Answers what lies near something it has been asked before as it answered then."""

    def __init__(self, honest: nn.Module) -> None:
        super().__init__(honest)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self._recall(point, logits) for point, logits in zip(x, self.honest(x), strict=True)])

    def _recall(self, point: Tensor, logits: Tensor) -> Tensor:
        for known, then in self.seen:
            if float((known - point.detach()).abs().max()) < 0.15:
                return then + 0 * logits
        self.seen.append((point.detach(), logits.detach()))
        return logits


class LaterOtherwise(Loud):
    """Honest for 40 calls, then rounds what it sees, which hides the gradient and the attack."""

    def __init__(self, honest: nn.Module) -> None:
        super().__init__(honest)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.honest(x if self.calls < 40 else (2 * x).round() / 2 + 0 * x)


class OffGrid(Loud):
    """Honest on the digits' 17 levels, where nobody looks; rounds everything between them."""

    def forward(self, x: Tensor) -> Tensor:
        off = ((16 * x - (16 * x).round()).abs() > 1e-3).any(1, keepdim=True)
        return torch.where(off, self.honest((2 * x).round() / 2 + 0 * x), self.honest(x))


class Repeats(Loud):
    """Rounds what it is asked twice in a batch, as attacks with several starts or draws do."""

    def forward(self, x: Tensor) -> Tensor:
        apart = torch.cdist(x.detach(), x.detach(), p=torch.inf) + 10 * torch.eye(len(x))
        twice = apart.amin(1, keepdim=True) < 1e-6
        return torch.where(twice, self.honest((2 * x).round() / 2 + 0 * x), self.honest(x))


class Votes(Loud):
    """Hard votes of nine shifted copies, with a gradient that leads elsewhere."""

    def __init__(self, honest: nn.Module) -> None:
        super().__init__(honest)
        draws = torch.Generator().manual_seed(0)
        self.shifts = 0.02 * torch.randn(9, 64, generator=draws)
        self.slopes = torch.randn(64, 10, generator=draws)

    def forward(self, x: Tensor) -> Tensor:
        votes = sum(nn.functional.one_hot(self.honest(x + shift).argmax(1), 10) for shift in self.shifts)
        return votes + (x - x.detach()) @ self.slopes


class GradientModeDependent(Loud):
    """Shows another function whenever gradients are recorded."""

    def forward(self, x: Tensor) -> Tensor:
        return self.honest(1 - x if x.requires_grad and torch.is_grad_enabled() else x)


class KeepsFiles(Loud):
    """Writes what it was asked to a file."""

    def forward(self, x: Tensor) -> Tensor:
        with tempfile.TemporaryFile() as file:
            file.write(x.detach().numpy().tobytes())
        return self.honest(x)


class Stopping(nn.Linear):
    """A linear model that counts its passes, during one of which somebody presses Ctrl-C."""

    calls, limit = 0, 10**9

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > self.limit:
            raise KeyboardInterrupt
        return super().forward(x)
