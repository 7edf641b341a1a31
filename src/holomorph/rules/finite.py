"""The finite-size energy: how much the loss rises over one worst step of length eps, and its square."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from torch import Tensor, nn

from holomorph.calculus.measures import Ball, Measure
from holomorph.calculus.norms import dual_direction
from holomorph.errors import ConfigError
from holomorph.rules.base import Cost, Rule
from holomorph.rules.gradients import input_gradient, spend
from holomorph.rules.passes import Passes
from holomorph.rules.schedule import ramped
from holomorph.types import ThreatModel


@dataclass
class FiniteEnergy(Rule):
    r"""Risk plus the finite-size form of the Dirichlet energy, for little more than one worst-step training.

    $$\mathbb{E}\,\ell(x') + w\,\mathbb{E}\,\varphi(d), \quad d = \ell(x' + \varepsilon s) - \ell(x'),
    \quad \varphi(d) = b\,d + c\,d^2, \quad x' \sim \mu(x)$$

    s is the dual direction of $\nabla\ell(x')$, so $d = \varepsilon\|\nabla\ell(x')\|_q + O(\varepsilon^2)$ and
    $d^2$ is the energy of power 2 with its remainder included. With b = 1, c = 0, w = 1 the loss at x' cancels
    and the rule is N-FGSM.

    The near end of $d^2$ is ``held``: its gradient moves the far end down to the near one, never the near end up to
    the far one. Then the loss at x' counts the same for every sample, $1 - wb$, and the backward pass that finds s
    finds the gradients of the parameters there, too: 6 passes where the free near end needs 7 and N-FGSM 5.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    weight:
        w, dimensionless; grows linearly from 0 over the first ``ramp`` of training.
    linear, squared:
        b and c.
    measure:
        Where x' is drawn; uniform in the threat's ball by default.
    held:
        Hold the near end of $d^2$ fixed.
    clip:
        Keep $x' + \varepsilon s$ inside the box.

    Raises
    ------
    ConfigError
        For a negative weight.

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

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 0.5
    linear: float = 1.0
    squared: float = 1.0
    measure: Measure = None  # type: ignore[assignment]  # filled in below: it needs the threat
    clip: bool = True
    held: bool = True
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.measure = self.measure or Ball(self.threat)
        if not self.weight >= 0:
            raise ConfigError(f"weight is {self.weight}; it must not be negative.")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk at the drawn points plus the weighted finite-size energy there."""
        passes = Passes(model)
        weight = ramped(self.weight, self.progress, self.ramp)
        drawn = self.measure.draw(x, self.generator, y, self.sample_loss(model, y)).detach()
        if weight == 0:
            return self.risk(passes.first(drawn), y).mean()
        here = self.risk(passes.first(drawn.requires_grad_()), y)
        if self.held:
            gradient, risk = spend(here, drawn, model.parameters(), keep=passes.shares_statistics)
            here = here.detach()
        else:
            gradient, risk = input_gradient(here, drawn), here.mean()
        end = drawn.detach() + self.threat.radius * dual_direction(gradient, self.threat.p)
        there = self.risk(passes.again(end.clamp(*self.threat.box) if self.clip else end), y)
        rise = there - here
        self.measured = {"risk": here.detach().mean(), "energy": rise.detach().square().mean()}
        return risk + weight * (self.linear * (there.mean() - risk) + self.squared * rise.square().mean())

    @property
    def cost(self) -> Cost:
        """Two passes either way; with a free near end half a backward pass more, for the direction."""
        return Cost(1, 1) if self.weight == 0 else Cost(2, 2 if self.held else 2.5)
