"""CURE: the change of the gradient along the attack's direction as a penalty on curvature."""

from dataclasses import KW_ONLY, dataclass

from torch import Tensor, nn

from holomorph.calculus.norms import dual_direction
from holomorph.calculus.risk_gradient import gradient_of_risk
from holomorph.rules.base import Cost, Rule
from holomorph.rules.gradients import require_double_backward
from holomorph.rules.passes import Passes
from holomorph.rules.schedule import ramped
from holomorph.threats import ThreatModel


@dataclass
class CURE(Rule):
    r"""Risk plus the squared change of the loss's gradient over one step of the attack.

    $$\mathbb{E}\,\ell(x) + \gamma\,\mathbb{E}\,\|\nabla\ell(x + h z) - \nabla\ell(x)\|_2^2$$

    The paper's z is the normalised sign of the gradient and its h grows over training to 1.5, which on CIFAR-10
    is an l_inf step of about 7/255. Here the step is ``step`` times eps along the dual direction.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    weight:
        γ; the paper uses 4.
    step:
        Length of the step in units of eps; grows linearly over the first ``ramp`` of training, as in the paper.

    Source: Moosavi-Dezfooli et al. 2019.

    Examples
    --------
    >>> import torch
    >>> rule = CURE(ThreatModel("inf", 0.1))
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 3))
    >>> rule(model, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "cure"
    second_order = True

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 4.0
    step: float = 1.0
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_not_negative("weight")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk plus weighted curvature."""
        passes = Passes(model)
        if self.weight == 0:
            return self.risk(passes.first(x), y).mean()
        require_double_backward(model)
        x = x.detach().requires_grad_()
        risk = self.risk(passes.first(x), y)
        here = gradient_of_risk(risk, x, graph=True)
        length = ramped(self.step, self.progress, self.ramp) * self.threat.radius
        moved = (x.detach() + length * dual_direction(here.detach(), self.threat.p)).requires_grad_()
        there = gradient_of_risk(self.risk(passes.again(moved), y), moved, graph=True)
        curvature = (there - here).flatten(1).square().sum(1).mean()
        self.measured = {"curvature": curvature.detach()}
        return risk.mean() + self.weight * curvature

    @property
    def cost(self) -> Cost:
        """Two points, both gradients differentiated again."""
        return Cost(2, 7) if self.weight > 0 else Cost(1, 1)
