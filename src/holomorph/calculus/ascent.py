"""Projected gradient ascent of any function of the inputs: the one that rules, attacks and measurements share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from holomorph.calculus.measures import SampleLoss
from holomorph.calculus.norms import dual_direction, per_sample, random_in_ball
from holomorph.calculus.risk_gradient import gradient_of_risk
from holomorph.contract import at_least_one
from holomorph.errors import ConfigError
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into, movable, walls

#: Share of the coordinates that a step of an l_1 ascent moves; one coordinate at a time would need hundreds of steps.
SPARSITY = 0.05


def direction(g: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    r"""The step of p-norm 1 that an ascent takes: the dual direction, for l_1 spread over the largest 5 %.

    A coordinate that the box already stops is left out of the l_1 step, a frozen feature out of every step.

    Source: the dual direction by Hölder's inequality; the sparse l_1 step is that of Tramèr and Boneh 2019.

    >>> direction(torch.tensor([[3.0, -4.0]]), torch.full((1, 2), 0.5), ThreatModel(2, 1.0))
    tensor([[ 0.6000, -0.8000]])
    """
    g = movable(g, threat)
    if threat.norm != "1":
        return dual_direction(g, threat.p)
    low, high = walls(threat, x)
    stopped = ((x >= high) & (g > 0)) | ((x <= low) & (g < 0))
    flat = g.masked_fill(stopped, 0.0).flatten(1)
    count = max(1, math.ceil(SPARSITY * flat.shape[1]))
    index = flat.abs().topk(count, dim=1).indices
    step = torch.zeros_like(flat).scatter(1, index, flat.gather(1, index).sign())
    return (step / step.abs().sum(1, keepdim=True).clamp_min(1.0)).reshape(g.shape)


class AscentRegion(Protocol):
    """The set in which an ascent stays: which step of length 1 climbs fastest there, and the way back into it."""

    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """The step of length 1 along which the function grows fastest."""
        ...

    def into(self, point: Tensor) -> Tensor:
        """The nearest point of the set."""
        ...


@dataclass(frozen=True, eq=False)
class Around:
    """A threat's set around the samples: its ball and box, or the walls and frozen features of a per-feature threat."""

    x: Tensor
    threat: ThreatModel

    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """As :func:`direction`."""
        return direction(gradient, point, self.threat)

    def into(self, point: Tensor) -> Tensor:
        """As :func:`holomorph.threats.constraints.into`."""
        return into(self.x, point, self.threat)


class Climb(NamedTuple):
    """What an ascent saw: the highest point of each sample with its value, the last point, the best values so far.

    ``heights`` has the shape (points looked at, batch).
    """

    best: Tensor
    top: Tensor
    last: Tensor
    heights: Tensor


def climb(
    objective: SampleLoss,
    start: Tensor,
    region: AscentRegion,
    steps: Sequence[float],
    *,
    momentum: float = 0.0,
    patience: int = 0,
    judge_last: bool = True,
) -> Climb:
    r"""Climb the objective from ``start`` inside a set, every sample on its own.

    $$z_{k+1} = \Pi\big(z_k + a_k\, s(\nabla g(z_k)) + \mu\,(z_k - z_{k-1})\big)$$

    Parameters
    ----------
    objective:
        Points (batch, ...) to one number a sample, (batch,).
    region:
        The set, with its direction s and its projection Π.
    steps:
        The lengths $a_k$, in input units.
    momentum:
        μ.
    patience:
        After so many points without a new best a sample's steps are halved and it goes on from its best point;
        0: never.
    judge_last:
        Whether the objective is also taken at the last point, one forward pass more.

    Points carry no graph. No gradient of a parameter is computed or changed; a gradient that is NaN counts as zero.

    Source: Madry et al. 2018; momentum and halving after Croce and Hein, ICML 2020 (APGD), simplified.

    >>> x = torch.full((1, 2), 0.5)
    >>> found = climb(lambda z: -(z - 0.55).square().sum(1), x, Around(x, ThreatModel("inf", 0.1)), [0.03] * 4)
    >>> found.best
    tensor([[0.5600, 0.5600]])
    """
    point = previous = best = start.detach()
    top = torch.full((len(start),), -torch.inf, dtype=start.dtype, device=start.device)
    scale, stale, heights = torch.ones_like(top), torch.zeros_like(top), []
    for k in range(len(steps) + judge_last):
        value, gradient = _slope(objective, point) if k < len(steps) else (_value(objective, point), None)
        better = value > top
        best, top = torch.where(per_sample(better, point), point, best), torch.where(better, value, top)
        heights.append(top)
        if gradient is None:
            break
        base, carried = point, momentum * (point - previous)
        if patience:
            stale = torch.where(better, 0.0, stale + 1)
            tired = stale >= patience
            scale, stale = torch.where(tired, scale / 2, scale), torch.where(tired, 0.0, stale)
            base = torch.where(per_sample(tired, point), best, point)
            carried = torch.where(per_sample(tired, point), 0.0, carried)
        step = steps[k] * per_sample(scale, point) * region.direction(gradient, base)
        point, previous = region.into(base + step + carried), base
    return Climb(best, top, point, torch.stack(heights) if heights else top.new_empty(0, len(top)))


def ascend(objective: SampleLoss, x: Tensor, start: Tensor, threat: ThreatModel, *, steps: int, step: float) -> Tensor:
    r"""The last point of an ascent with equal steps inside the threat's set around x, as in adversarial training.

    Parameters
    ----------
    objective:
        Points (batch, ...) to one number a sample, (batch,).
    steps, step:
        How many steps, and the length of each in input units.

    Source: Madry et al. 2018.

    >>> x = torch.full((1, 2), 0.5)
    >>> ascend(lambda z: z.sum(1), x, x, ThreatModel("inf", 0.1), steps=10, step=0.025)
    tensor([[0.6000, 0.6000]])
    """
    return climb(objective, start, Around(x, threat), [step] * steps, judge_last=False).last


def maximise(
    objective: SampleLoss,
    x: Tensor,
    threat: ThreatModel,
    generator: torch.Generator,
    *,
    steps: int = 10,
    restarts: int = 1,
    random_start: bool = True,
) -> Tensor:
    r"""The last points of ascents with steps of $2.5\,\varepsilon/\mathrm{steps}$; of several the worst of each sample.

    >>> x = torch.full((1, 2), 0.5)
    >>> maximise(lambda z: z.sum(1), x, ThreatModel("inf", 0.1), torch.Generator().manual_seed(0))
    tensor([[0.6000, 0.6000]])
    """
    step = 2.5 * threat.radius / steps
    best, highest = x, None
    for _ in range(restarts):
        start = x
        if random_start:
            start = (x + random_in_ball(x, threat.p, threat.radius, generator)).clamp(*threat.box)
        z = ascend(objective, x, start, threat, steps=steps, step=step)
        if restarts == 1:
            return z
        height = _value(objective, z)
        if highest is None:
            best, highest = z, height
        else:
            better = height > highest
            best = torch.where(per_sample(better, z), z, best)
            highest = torch.where(better, height, highest)
    return best


def _slope(objective: SampleLoss, point: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = point.detach().requires_grad_()
        value = objective(leaf)
        gradient = gradient_of_risk(value, leaf)
    return value.detach().to(point.dtype), gradient.nan_to_num()


def _value(objective: SampleLoss, point: Tensor) -> Tensor:
    with torch.no_grad():
        return objective(point).to(point.dtype)


@dataclass(frozen=True)
class Ascent:
    r"""Points that have climbed the loss a little: the measure for an energy that looks where it hurts.

    From a point uniform in the ball of radius ``noise`` times eps, ``steps`` equal steps of
    ``fraction`` times eps in all, projected into the threat. Any rule with a ``measure`` takes it.

    Source: docs/mathematics.md, section 2; our own.

    >>> x, generator = torch.full((1, 2), 0.5), torch.Generator()
    >>> Ascent(ThreatModel("inf", 0.1)).draw(x, generator, loss=lambda z: z.sum(1))
    tensor([[0.5500, 0.5500]])
    """

    threat: ThreatModel
    steps: int = 1
    fraction: float = 0.5
    noise: float = 0.0

    def __post_init__(self) -> None:
        at_least_one(steps=self.steps)

    def draw(
        self, x: Tensor, generator: torch.Generator, y: Tensor | None = None, loss: SampleLoss | None = None
    ) -> Tensor:
        """Climb from x, or from a point near it."""
        if loss is None:
            raise ConfigError("The measure Ascent climbs a loss; draw needs the argument loss.")
        x = x.detach()
        start = x
        if self.noise > 0:
            start = start + random_in_ball(x, self.threat.p, self.noise * self.threat.radius, generator)
        step = self.fraction * self.threat.radius / self.steps
        return ascend(loss, x, start.clamp(*self.threat.box), self.threat, steps=self.steps, step=step)
