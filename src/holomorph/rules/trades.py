"""TRADES: the risk at the samples plus the worst divergence of the predictions around them."""

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from holomorph._utils.seeding import normal
from holomorph.calculus.ascent import ascend
from holomorph.contract.model import evaluating
from holomorph.rules.base import Cost, Rule
from holomorph.rules.passes import Passes
from holomorph.threats import ThreatModel


def divergence(reference: Tensor, other: Tensor) -> Tensor:
    r"""$\mathrm{KL}(\mathrm{softmax}\,a \,\|\, \mathrm{softmax}\,b)$ of each row of logits; shape (batch,).

    >>> divergence(torch.zeros(1, 2), torch.zeros(1, 2))
    tensor([0.])
    """
    p, q = log_softmax(reference, 1), log_softmax(other, 1)
    return (p.exp() * (p - q)).sum(1)


@dataclass
class TRADES(Rule):
    r"""Risk at the samples plus $\beta$ times the worst change of the predicted distribution inside the threat.

    $$\mathbb{E}\,\ell(x) + \beta\,\mathbb{E}\max_\delta
    \mathrm{KL}\big(p(\cdot|x)\,\|\,p(\cdot|x+\delta)\big)$$

    Parameters
    ----------
    threat:
        Norm, radius and box.
    beta:
        The trade-off; the paper uses 1 and 6.
    steps:
        Steps of the ascent, which starts at Gaussian noise of size 0.001 (of the box) around the sample.

    Source: Zhang et al. 2019. The divergence is the finite, worst-direction form of the energy of the Fisher map
    (docs/mathematics.md, section 1).

    Examples
    --------
    >>> rule = TRADES(ThreatModel("inf", 0.1), steps=3)
    >>> rule(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "trades"

    threat: ThreatModel
    _: KW_ONLY
    beta: float = 6.0
    steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("steps")
        self.require_not_negative("beta")

    def perturbed(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return the points of largest divergence found, without a graph."""
        low, high = self.threat.box
        noise = normal(x.shape, x, self.generator)
        start = (x.detach() + 1e-3 * (high - low) * noise).clamp(low, high)
        step = 2.5 * self.threat.radius / self.steps
        with evaluating(model):
            with torch.no_grad():
                reference = model(x)
            return ascend(
                lambda z: divergence(reference, model(z)), x.detach(), start, self.threat, steps=self.steps, step=step
            )

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk plus beta times the divergence."""
        passes = Passes(model)
        if self.beta == 0:
            return self.risk(passes.first(x), y).mean()
        moved = self.perturbed(model, x)
        logits = passes.first(x)
        apart = divergence(logits, passes.again(moved)).mean()
        self.measured = {"divergence": apart.detach()}
        return self.risk(logits, y).mean() + self.beta * apart

    @property
    def cost(self) -> Cost:
        """Both points forward and backward, the reference, and the ascent."""
        return Cost(3 + self.steps, 2 + 0.5 * self.steps)
