"""N-FGSM: adversarial training with one step from a noisy point, without projection."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn

from holomorph.calculus.ascent import direction
from holomorph.calculus.norms import random_in_ball
from holomorph.calculus.risk_gradient import gradient_of_risk
from holomorph.contract.model import evaluating
from holomorph.rules.base import Cost, Rule
from holomorph.threats import ThreatModel


@dataclass
class NFGSM(Rule):
    r"""Risk one worst step away from a noisy point; the sum of noise and step is not projected back.

    $$\mathbb{E}\,\ell\big(x' + \varepsilon\, s(\nabla\ell(x'))\big), \qquad x' = x + u,\;
    u \sim \mathcal{U}(\text{ball of radius } k\varepsilon)$$

    Points are clipped to the box. s is the sign for l_inf (the paper's norm) and the dual direction otherwise.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    noise:
        k; the paper's choice is 2.

    Source: de Jorge et al. 2022, "Make some noise".

    Examples
    --------
    >>> rule = NFGSM(ThreatModel("inf", 0.1))
    >>> rule(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "nfgsm"

    threat: ThreatModel
    _: KW_ONLY
    noise: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_not_negative("noise")

    def perturbed(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the points one step away from the noisy ones, without a graph."""
        with evaluating(model):
            return noisy_step(lambda z: self.risk(model(z), y), x, self.threat, self.noise, self.generator)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk at the perturbed points."""
        return self.risk(model(self.perturbed(model, x, y)), y).mean()

    @property
    def cost(self) -> Cost:
        """One step, and a forward and half a backward pass for its direction."""
        return Cost(2, 1.5)


def noisy_step(
    value: Callable[[Tensor], Tensor], x: Tensor, threat: ThreatModel, noise: float, generator: torch.Generator
) -> Tensor:
    """Points one step of steepest ascent of ``value`` (batch,) away from a random point of ``noise`` radii."""
    noisy = x.detach() + random_in_ball(x, threat.p, noise * threat.radius, generator)
    noisy = noisy.clamp(*threat.box).requires_grad_()
    gradient = gradient_of_risk(value(noisy), noisy)
    noisy = noisy.detach()
    return (noisy + threat.radius * direction(gradient, noisy, threat)).clamp(*threat.box)
