"""How settings move while training goes on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holomorph.contract.labels import are_soft
from holomorph.threats import ThreatModel

#: A network follows while its loss is less than this part of a constant prediction's.
_FOLLOWS = 0.6

#: Share of training in which a network that follows reaches the whole radius.
_FASTEST = 0.02


def ramped(weight: float, progress: float, ramp: float) -> float:
    r"""$w \min(1, t/\rho)$: from 0 at the start to the whole weight after the share ``ramp`` of training.

    Outside a training loop progress is 1 and the weight is whole.

    >>> ramped(2.0, 0.25, 0.5), ramped(2.0, 1.0, 0.5), ramped(2.0, 0.0, 0.0)
    (1.0, 2.0, 2.0)
    """
    return weight * min(1.0, progress / ramp) if ramp > 0 else weight


def scaled(threat: ThreatModel, share: float | Tensor) -> ThreatModel:
    r"""The same threat with the radius $a\varepsilon$, but for a millionth of $\varepsilon$ at least.

    A share that lies on a device stays there: nobody waits to learn it.

    >>> scaled(ThreatModel(2, 1.5), 0.5).radius
    0.75
    >>> scaled(ThreatModel(2, 1.5), torch.tensor(0.5)).radius
    tensor(0.7500)
    """
    if isinstance(share, Tensor):
        return threat.with_radius(threat.radius * share.clamp_min(1e-6))
    return threat if share == 1 else threat.model_copy(update={"eps": threat.radius * max(share, 1e-6)})


@dataclass
class Pace:
    r"""The share of a radius that is asked for: continuation from plain training, as fast as the network follows.

    The best constant prediction loses the entropy of the batch's labels. While the loss of the last batch is below 0.6
    of that, the share rises by $dt/0.02$; otherwise it falls as fast, but never below $t/\rho$. So easy data are
    trained at the whole radius almost at once, hard ones from the share $\rho$ of training on. While the share grows it
    is a scalar on the samples' device, which the host never reads. Our own.

    >>> pace, y, x = Pace(), torch.tensor([0, 1]), torch.zeros(2, 1)
    >>> pace.share(0.02, 0.5, x), pace.follow(torch.tensor(0.1), y, classes=2)
    (tensor(0.0400), None)
    >>> pace.share(0.03, 0.5, x), pace.share(0.5, 0.5, x)
    (tensor(0.5400), 1.0)
    """

    now: float | Tensor = 0.0
    at: float = 0.0
    follows: bool | Tensor = False

    def share(self, progress: float, ramp: float, like: Tensor) -> float | Tensor:
        """Move on to the progress and return the share there; going back begins another training."""
        if progress < self.at:
            self.now, self.follows = 0.0, False
        change = max(0.0, progress - self.at) / _FASTEST
        self.at = progress
        least = ramped(1.0, progress, ramp)
        if least == 1:
            self.now = 1.0
        else:
            now, follows = (_on(part, like) for part in (self.now, self.follows))
            self.now = (now + change * (2 * follows - 1)).clamp(least, 1.0)
        return self.now

    def follow(self, loss: Tensor, y: Tensor, classes: int) -> None:
        """See whether the network follows, by its mean loss at the points that were asked for."""
        if are_soft(y):
            frequency = y.mean(0)
        else:
            ones = torch.ones_like(y, dtype=loss.dtype)
            frequency = torch.zeros(classes, dtype=loss.dtype, device=y.device).scatter_add(0, y, ones) / len(y)
        self.follows = loss < _FOLLOWS * torch.special.entr(frequency).sum()


def _on(value: float | Tensor, like: Tensor) -> Tensor:
    return value.to(like) if isinstance(value, Tensor) else like.new_full((), value)
