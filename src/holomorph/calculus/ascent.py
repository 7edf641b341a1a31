"""Projected gradient ascent inside a threat: the inner step of the adversarial rules and the ascent measure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from holomorph.calculus.input_gradient import input_gradient
from holomorph.calculus.measures import SampleLoss
from holomorph.calculus.norms import dual_direction, into_threat, per_sample, random_in_ball
from holomorph.contract import at_least_one
from holomorph.errors import ConfigError
from holomorph.threats import ThreatModel

#: Share of the coordinates that a step of an l_1 ascent moves; one coordinate at a time would need hundreds of steps.
SPARSITY = 0.05


def direction(g: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    r"""The step of p-norm 1 that an ascent takes: the dual direction, for l_1 spread over the largest 5 %.

    A coordinate that the box already stops is left out of the l_1 step.

    Source: the dual direction by Hölder's inequality; the sparse l_1 step is that of Tramèr and Boneh 2019.

    >>> direction(torch.tensor([[3.0, -4.0]]), torch.full((1, 2), 0.5), ThreatModel(2, 1.0))
    tensor([[ 0.6000, -0.8000]])
    """
    if threat.norm != "1":
        return dual_direction(g, threat.p)
    low, high = threat.box
    stopped = ((x >= high) & (g > 0)) | ((x <= low) & (g < 0))
    flat = g.masked_fill(stopped, 0.0).flatten(1)
    count = max(1, math.ceil(SPARSITY * flat.shape[1]))
    index = flat.abs().topk(count, dim=1).indices
    step = torch.zeros_like(flat).scatter(1, index, flat.gather(1, index).sign())
    return (step / step.abs().sum(1, keepdim=True).clamp_min(1.0)).reshape(g.shape)


def ascend(objective: SampleLoss, x: Tensor, start: Tensor, threat: ThreatModel, *, steps: int, step: float) -> Tensor:
    r"""Climb the objective from ``start`` inside the threat's ball around x.

    $$z \leftarrow \Pi\big(z + a\, s(\nabla g(z))\big)$$

    Parameters
    ----------
    objective:
        Points (batch, ...) to one number a sample, (batch,).
    steps, step:
        How many steps, and the length a of each in input units.

    Returns the last point, without a graph. No gradient of a parameter is computed or changed.

    Source: Madry et al. 2018.

    >>> x = torch.full((1, 2), 0.5)
    >>> ascend(lambda z: z.sum(1), x, x, ThreatModel("inf", 0.1), steps=10, step=0.025)
    tensor([[0.6000, 0.6000]])
    """
    z = start.detach()
    for _ in range(steps):
        z.requires_grad_()
        g = input_gradient(objective(z), z)
        z = into_threat(x, z.detach() + step * direction(g, z.detach(), threat), threat)
    return z


def attack(
    objective: SampleLoss,
    x: Tensor,
    threat: ThreatModel,
    generator: torch.Generator,
    *,
    steps: int = 10,
    restarts: int = 1,
    random_start: bool = True,
) -> Tensor:
    r"""PGD with steps of $2.5\,\varepsilon/\mathrm{steps}$; of several restarts the worst point of each sample.

    >>> x = torch.full((1, 2), 0.5)
    >>> attack(lambda z: z.sum(1), x, ThreatModel("inf", 0.1), torch.Generator().manual_seed(0))
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
        with torch.no_grad():
            height = objective(z)
        if highest is None:
            best, highest = z, height
        else:
            better = height > highest
            best = torch.where(per_sample(better, z), z, best)
            highest = torch.where(better, height, highest)
    return best


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
