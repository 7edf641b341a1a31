"""LLR: the largest departure of the loss from its linearisation inside the threat."""

from dataclasses import KW_ONLY, dataclass

from torch import Tensor, nn

from holomorph.calculus.ascent import maximise
from holomorph.calculus.risk_gradient import gradient_of_risk
from holomorph.contract.model import evaluating
from holomorph.rules.base import Cost, Rule
from holomorph.rules.gradients import require_double_backward
from holomorph.rules.passes import Passes
from holomorph.threats import ThreatModel


@dataclass
class LLR(Rule):
    r"""Risk plus local non-linearity and the gradient along its direction.

    $$\mathbb{E}\Big[\ell(x) + \lambda\, g(\delta^*) + \mu\,|\langle\delta^*, \nabla\ell(x)\rangle|\Big], \qquad
    g(\delta) = |\ell(x+\delta) - \ell(x) - \langle\delta, \nabla\ell(x)\rangle|, \quad
    \delta^* = \arg\max g$$

    The maximum is sought by projected ascent on the network in evaluation mode.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    weight:
        λ; the paper uses 4 at 8/255 on CIFAR-10.
    slope:
        μ; the paper uses 3.
    steps:
        Steps of the ascent.

    Source: Qin et al. 2019.

    Examples
    --------
    >>> import torch
    >>> rule = LLR(ThreatModel("inf", 0.1), steps=2)
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 3))
    >>> rule(model, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "llr"
    second_order = True

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 4.0
    slope: float = 3.0
    steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("steps")
        self.require_not_negative("weight", "slope")

    def perturbation(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return δ* of each sample, without a graph."""
        with evaluating(model):
            x = x.detach().requires_grad_()
            here = self.risk(model(x), y)
            gradient = gradient_of_risk(here, x)
            here, x = here.detach(), x.detach()

            def departure(z: Tensor) -> Tensor:
                return (self.risk(model(z), y) - here - _inner(z - x, gradient)).abs()

            return maximise(departure, x, self.threat, self.generator, steps=self.steps) - x

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk, non-linearity and slope."""
        passes = Passes(model)
        if self.weight == 0 and self.slope == 0:
            return self.risk(passes.first(x), y).mean()
        require_double_backward(model)
        delta = self.perturbation(model, x, y)
        x = x.detach().requires_grad_()
        risk = self.risk(passes.first(x), y)
        rise = _inner(delta, gradient_of_risk(risk, x, graph=True))
        departure = (self.risk(passes.again(x.detach() + delta), y) - risk - rise).abs()
        self.measured = {"departure": departure.detach().mean()}
        return (risk + self.weight * departure + self.slope * rise.abs()).mean()

    @property
    def cost(self) -> Cost:
        """The ascent, its linearisation, two points and one gradient differentiated again."""
        return Cost(3 + self.steps, 5.5 + 0.5 * self.steps)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
