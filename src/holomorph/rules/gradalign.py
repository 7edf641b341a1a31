"""GradAlign: one-step adversarial training, held together by the alignment of gradients."""

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn

from holomorph.calculus.ascent import direction
from holomorph.calculus.norms import random_in_ball
from holomorph.calculus.risk_gradient import alignment, gradient_of_risk
from holomorph.contract.model import evaluating
from holomorph.errors import ConfigError
from holomorph.rules.base import Cost, Rule
from holomorph.rules.gradients import require_double_backward
from holomorph.threats import ThreatModel


@dataclass
class GradAlign(Rule):
    r"""Risk one FGSM step away, plus the misalignment of the gradients at the sample and at a random neighbour.

    $$\mathbb{E}\,\ell(x + \varepsilon s) + \lambda\,\mathbb{E}\big[1 - \cos(\nabla\ell(x), \nabla\ell(x + u))\big],
    \qquad u \sim \mathcal{U}(\text{ball})$$

    As in the authors' code the gradient at x is a constant; the one at x + u is differentiated, and samples whose
    gradients vanish are left out.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    weight:
        λ; the paper uses 0.2 at 8/255 on CIFAR-10 and larger values for larger radii.

    Source: Andriushchenko and Flammarion 2020.

    Examples
    --------
    >>> import torch
    >>> rule = GradAlign(ThreatModel("inf", 0.1))
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 3))
    >>> rule(model, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "gradalign"
    second_order = True

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weight >= 0:
            raise ConfigError(f"weight is {self.weight}; it must not be negative.")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """FGSM risk plus weighted misalignment."""
        if self.weight > 0:
            require_double_backward(model)
        x = x.detach().requires_grad_()
        near = x.detach() + random_in_ball(x, self.threat.p, self.threat.radius, self.generator)
        near = near.clamp(*self.threat.box).requires_grad_()
        with evaluating(model):  # both gradients of one function, without masks or statistics of their own
            here = gradient_of_risk(self.risk(model(x), y), x)
            there = gradient_of_risk(self.risk(model(near), y), near, graph=self.weight > 0)
        x = x.detach()
        moved = (x + self.threat.radius * direction(here, x, self.threat)).clamp(*self.threat.box)
        risk = self.risk(model(moved), y).mean()
        # Of gradients below the rounding of a probability the second derivatives are noise, which the cosine scales up.
        cosine = alignment(here, there, floor=torch.finfo(x.dtype).eps)
        self.measured = {"alignment": cosine.detach()}
        return risk + self.weight * (1 - cosine) if self.weight > 0 else risk

    @property
    def cost(self) -> Cost:
        """Three points; half a backward pass for each gradient, a double one for the neighbour's."""
        return Cost(3, 4.5) if self.weight > 0 else Cost(3, 2)
