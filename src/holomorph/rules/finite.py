"""The finite-size energy: how much the loss rises along a short path of steepest ascent, and its square."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn

from holomorph.calculus.measures import Ball, Measure
from holomorph.calculus.norms import into_threat, norm
from holomorph.errors import ConfigError
from holomorph.rules.ascent import ascend, direction
from holomorph.rules.base import Cost, Rule
from holomorph.rules.gradients import input_gradient, is_compiled, spend
from holomorph.rules.passes import Passes
from holomorph.rules.sampling import inclusion, systematic
from holomorph.rules.schedule import ramped
from holomorph.types import ThreatModel

#: Where the predicted rise stops to raise a sample's chance, and the chance that no prediction takes away.
_LARGE, _FLOOR = 3.0, 0.05

#: Length of a path of several segments, in radii: more than 1, since the ball cuts some of it off.
_LENGTH = 1.5


def _noise(coordinates: int) -> float:
    """How far x' is drawn, in radii: where coordinates are few, random points reach as far as worst ones."""
    return min(1.0, math.sqrt(coordinates) / 4)


@dataclass
class FiniteEnergy(Rule):
    r"""Risk plus the finite-size form of the Dirichlet energy, with no second derivative.

    $$\mathbb{E}\,\ell(x') + w\,\mathbb{E}\,\varphi(d), \quad d = \ell(x'') - \ell(x'),
    \quad \varphi(d) = b\,d + c\,d_+^2, \quad x' = x + u$$

    The far end is one worst step away, with a part of the noise left out,

    $$x'' = x + \kappa u + \varepsilon s, \quad s \text{ the dual direction of } \nabla\ell(x'),$$

    so that $\mathbb{E}_u\,d = \varepsilon\,\mathbb{E}_u\|\nabla\ell(x')\|_q$ plus terms of second order, and $d^2$ is
    the energy of power 2 with its remainder included. That remainder grows while the network sharpens: in the ``late``
    part of training the step becomes a path of ``segments``, each along the gradient where the last one ended, inside
    the threat. With b = w = $\kappa$ = 1, c = 0 and one segment the loss at x' cancels and the rule is N-FGSM.

    The near end of $d^2$ is ``held``: its gradient moves the far end down to the near one, never the near end up to the
    far one. Then the loss at x' counts the same for every sample, $1 - wb$: nothing by default once the ramp is over,
    and only the points are differentiated there. With other weights the backward pass that finds s finds the gradients
    of the parameters there, too.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    weight:
        w, dimensionless; grows linearly from 0 over the first ``ramp`` of training, which leaves part of the risk at x'
        at first: harder data is learned later otherwise.
    linear, squared:
        b and c.
    measure:
        Where x' is drawn; by default uniform in the ball of $\min(1, \sqrt n/4)$ times the threat's radius, n the
        number of coordinates: in l_2 its effect to first order is then at most a quarter of the worst step's.
    kept:
        $\kappa$ in [0, 1], the part of the noise that stays at the far end of a single step.
    segments, late:
        How many parts the path has in the last share ``late`` of training, each $1.5\,\varepsilon$ over their number.
        The guard against catastrophic overfitting doubles ``segments``.
    held:
        Hold the near end of $d^2$ fixed.
    share:
        Of the batch whose far ends are visited, in (0, 1]: drawn with probabilities in proportion to the slope
        $\varphi'(\hat d)\,(1 - e^{-\hat\ell})$ that the first-order rise $\hat d = \varepsilon\|\nabla\ell(x')\|_q$
        predicts, and weighted by their inverse, so that the expected gradient stays the same. Networks with active
        dropout layers visit all: both ends of a step must see the same mask.
    clip:
        Keep $x''$ inside the box.

    Raises
    ------
    ConfigError
        For a negative weight or a setting outside its range.

    Source: docs/mathematics.md, section 2. Our own; it joins the finite differences of Finlay and Oberman 2019
    with the noisy point of de Jorge et al. 2022.

    Examples
    --------
    >>> import torch
    >>> rule = FiniteEnergy(ThreatModel("inf", 0.1))
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 3))
    >>> rule(model, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "finite"
    doubled = "segments"  # a longer path sees what a single step misses

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 1.0
    linear: float = 1.0
    squared: float = 0.0
    measure: Measure | None = None
    kept: float = 0.5
    segments: int = 2
    late: float = 0.5
    clip: bool = True
    held: bool = True
    share: float = 1.0
    ramp: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("segments")
        if not self.weight >= 0:
            raise ConfigError(f"weight is {self.weight}; it must not be negative.")
        if not 0 < self.share <= 1:
            raise ConfigError(f"share is {self.share}; give the part of each batch to visit, in (0, 1].")
        for name in ("kept", "late"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a share in [0, 1].")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk at the drawn points plus the weighted finite-size energy there."""
        passes = Passes(model)
        weight = ramped(self.weight, self.progress, self.ramp)
        measure = self.measure or Ball(self.threat, scale=_noise(x[0].numel()))
        near = measure.draw(x, self.generator, y, self.sample_loss(model, y)).detach()
        if weight == 0:
            return self.risk(passes.first(near), y).mean()
        here = self.risk(passes.first(near.requires_grad_()), y)
        if self.held and weight * self.linear == 1:  # the loss at x' cancels: no gradients of parameters there
            gradient, risk = input_gradient(here, near), here.mean().detach()
            here = here.detach()
        elif self.held:
            # A compiled network whose graph was freed once refuses to keep it for whoever calls it next.
            keep = passes.shares_statistics or is_compiled(model)
            gradient, risk = spend(here, near, model.parameters(), keep=keep)
            here = here.detach()
        else:
            gradient, risk = input_gradient(here, near), here.mean()
        seen, count = self._visit(here.detach(), gradient, passes)
        y, here = y[seen], here[seen]
        there = self.risk(passes.again(self._far(passes, x[seen], near.detach()[seen], gradient[seen], y)), y)
        rise = there - here
        energy = (rise.clamp_min(0).square() / count).sum()
        self.measured = {"risk": risk.detach(), "energy": energy.detach()}
        return risk + weight * (self.linear * ((there / count).sum() - risk) + self.squared * energy)

    def _far(self, passes: Passes, x: Tensor, near: Tensor, gradient: Tensor, y: Tensor) -> Tensor:
        """The far ends: one step in all, or a path inside the threat when it is late."""
        eps, s = self.threat.radius, direction(gradient, near, self.threat)
        if self.segments == 1 or self.progress <= 1 - self.late:
            end = x + self.kept * (near - x) + eps * s
            return end.clamp(*self.threat.box) if self.clip else end
        step = _LENGTH * eps / self.segments
        first = into_threat(x, near + step * s, self.threat)
        further = self.segments - 1
        return ascend(lambda z: self.risk(passes.again(z), y), x, first, self.threat, steps=further, step=step)

    def _visit(self, here: Tensor, gradient: Tensor, passes: Passes) -> tuple[Tensor | slice, Tensor | int]:
        """Which far ends to visit, and what to divide each by so that sums over them are means over the batch."""
        if self.share == 1 or passes.masks:
            return slice(None), len(here)
        rise = self.threat.radius * norm(gradient, self.threat.q)
        slope = self.linear + 2 * self.squared * rise.clamp(max=_LARGE)
        pi = inclusion(_FLOOR + slope * -torch.expm1(-here - rise), self.share)
        seen = systematic(pi, self.generator)
        return seen, len(here) * pi[seen]

    @property
    def cost(self) -> Cost:
        """After the ramp: a pass either way at each end, less at a near end whose loss cancels; further segments."""
        if self.weight == 0:
            return Cost(1, 1)
        near = 1.5 if not self.held else 0.5 if self.weight * self.linear == 1 else 1.0
        further = self.share * (self.segments - 1) * self.late
        return Cost(1 + self.share + further, near + self.share + further / 2)
