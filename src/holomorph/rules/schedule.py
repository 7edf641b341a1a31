"""How settings move while training goes on."""

from __future__ import annotations

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


def scaled(threat: ThreatModel, share: float) -> ThreatModel:
    r"""The same threat with the radius $a\varepsilon$, but for a millionth of $\varepsilon$ at least.

    >>> scaled(ThreatModel(2, 1.5), 0.5).radius
    0.75
    """
    return threat if share == 1 else ThreatModel(threat.norm, threat.radius * max(share, 1e-6), threat.box)


@dataclass
class Pace:
    r"""The share of a radius that is asked for: continuation from plain training, as fast as the network follows.

    It rises by $dt/.02$ while the loss of the last batch was below .6 of what the best constant prediction loses, the
    entropy of the batch's labels, and falls as fast otherwise, but never below $t/\rho$: easy data are trained at the
    whole radius almost at once, hard ones from the share $\rho$ of training on. Our own.

    >>> pace, y = Pace(), torch.tensor([0, 1])
    >>> pace.share(progress=0.02, ramp=0.5), pace.follow(0.1, y)
    (0.04, None)
    >>> round(pace.share(progress=0.03, ramp=0.5), 3)
    0.54
    """

    now: float = 0.0
    at: float = 0.0
    follows: bool = False

    def share(self, progress: float, ramp: float) -> float:
        """Move on to the progress and return the share there; going back begins another training."""
        if progress < self.at:
            self.now, self.follows = 0.0, False
        change = max(0.0, progress - self.at) / _FASTEST
        self.at = progress
        self.now = min(1.0, max(self.now + (change if self.follows else -change), ramped(1.0, progress, ramp)))
        return self.now

    def follow(self, loss: float, y: Tensor) -> None:
        """See whether the network follows, by its loss at the points that were asked for."""
        frequency = y.mean(0) if are_soft(y) else torch.bincount(y) / len(y)
        self.follows = loss < _FOLLOWS * float(torch.special.entr(frequency).sum())
