r"""Where the energy is measured: the distributions $\mu$ of points drawn around or between the samples.

A measure is anything with ``draw(x, generator, y=None, loss=None) -> Tensor`` of the shape of x. Labels are
there for the measures that need classes, the per-sample loss for those that ascend it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from holomorph.calculus.norms import random_in_ball
from holomorph.types import ThreatModel

#: A loss of each sample: (batch, ...) -> (batch,).
SampleLoss = Callable[[Tensor], Tensor]


class Measure(Protocol):
    """A distribution of points around given samples."""

    def draw(
        self, x: Tensor, generator: torch.Generator, y: Tensor | None = None, loss: SampleLoss | None = None
    ) -> Tensor:
        """Draw one point for each sample."""
        ...


@dataclass(frozen=True)
class Samples:
    """The samples themselves: no randomness. A small plateau around each sample escapes this measure."""

    def draw(
        self, x: Tensor, generator: torch.Generator, y: Tensor | None = None, loss: SampleLoss | None = None
    ) -> Tensor:
        """Return x itself."""
        return x


@dataclass(frozen=True)
class Ball:
    r"""Uniform in the threat's ball around each sample, radius times ``scale``, clipped to the box if ``clip``.

    Source: docs/mathematics.md, section 2.

    >>> x = torch.full((1, 3), 0.5)
    >>> drawn = Ball(ThreatModel("inf", 0.1)).draw(x, torch.Generator().manual_seed(0))
    >>> bool((drawn - x).abs().max() <= 0.1)
    True
    """

    threat: ThreatModel
    scale: float = 1.0
    clip: bool = True

    def draw(
        self, x: Tensor, generator: torch.Generator, y: Tensor | None = None, loss: SampleLoss | None = None
    ) -> Tensor:
        """Draw x + u with u uniform in the ball."""
        drawn = x + random_in_ball(x, self.threat.p, self.threat.radius * self.scale, generator)
        return drawn.clamp(*self.threat.box) if self.clip else drawn
