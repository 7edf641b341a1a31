r"""Where the energy is measured: the distributions $\mu$ of points drawn around or between the samples.

A measure is anything with ``draw(x, generator, y=None, loss=None) -> Tensor`` of the shape of x. Labels are
there for the measures that need classes, the per-sample loss for those that ascend it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from holomorph.calculus.norms import per_sample, random_in_ball
from holomorph.contract import check_batch
from holomorph.contract.data import check_kind
from holomorph.errors import ConfigError, DataError
from holomorph.threats import ThreatModel

#: A loss of each sample: (batch, ...) -> (batch,).
SampleLoss = Callable[[Tensor], Tensor]


def _check(x: Tensor) -> None:
    """Look at the samples; at their values only where nobody has to wait for them."""
    (check_batch if x.device.type == "cpu" else check_kind)(x)


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
        _check(x)
        drawn = x + random_in_ball(x, self.threat.p, self.threat.radius * self.scale, generator)
        return drawn.clamp(*self.threat.box) if self.clip else drawn


@dataclass(frozen=True)
class Segments:
    """Uniform on the segment from each sample to a random sample of another class: across the decision boundary.

    ``share`` = 1/2 stays on the sample's own half.

    Source: docs/mathematics.md, section 2.

    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
    >>> drawn = Segments(share=0.5).draw(x, torch.Generator().manual_seed(0), y)
    >>> bool(drawn[0] <= 0.5) and bool(drawn[1] >= 0.5)
    True
    """

    share: float = 1.0

    def draw(
        self, x: Tensor, generator: torch.Generator, y: Tensor | None = None, loss: SampleLoss | None = None
    ) -> Tensor:
        """Draw x + t (x' - x) with t uniform in [0, share] and x' of another class."""
        _check(x)
        if y is None:
            raise ConfigError("Segments join samples of different classes; give the labels y.")
        other = (y[:, None] != y[None, :]).to(torch.get_default_dtype())
        if not bool(other.any(1).all()):
            raise DataError("Segments need at least two classes in every batch. Use larger or balanced batches.")
        partner = torch.multinomial(other.to(generator.device), 1, generator=generator)[:, 0].to(x.device)
        t = torch.rand(len(x), generator=generator, dtype=x.dtype, device=generator.device).to(x.device) * self.share
        return x + per_sample(t, x) * (x[partner] - x)


@dataclass(frozen=True)
class Noise:
    r"""Gaussian around each sample, with deviation ``sigma`` in input units; leaves the box.

    Source: docs/mathematics.md, section 2.

    >>> Noise(0.1).draw(torch.zeros(1, 2), torch.Generator().manual_seed(0)).abs().max() < 1
    tensor(True)
    """

    sigma: float

    def draw(
        self, x: Tensor, generator: torch.Generator, y: Tensor | None = None, loss: SampleLoss | None = None
    ) -> Tensor:
        """Draw x + sigma times a standard normal vector."""
        _check(x)
        return x + self.sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device).to(x)
