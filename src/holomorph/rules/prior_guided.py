"""FGSM-PGI: one-step adversarial training that starts where the last perturbations ended."""

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from holomorph.calculus.ascent import direction
from holomorph.calculus.norms import project, random_in_ball
from holomorph.rules.base import Cost, Rule
from holomorph.rules.passes import Passes
from holomorph.threats import ThreatModel


@dataclass
class PriorGuided(Rule):
    r"""Risk one step away from a prior, and the change of the logits on the way from there.

    $$\mathbb{E}\,\ell(x + \delta) + \lambda\,\tfrac1K\,|h(x + \delta) - h(x + \eta)|^2, \qquad
    \delta = \Pi\big(\eta + \varepsilon\,s(\nabla\ell(x + \eta))\big)$$

    $\eta$ is the prior: the perturbations that the batch before ended with, the paper's variant FGSM-BP, which needs
    no memory of each sample and so works in any loop and under crops. The paper's best variant keeps one perturbation
    a sample. The first batch, and one of another shape, starts uniformly in the ball. K is the number of classes.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    weight:
        $\lambda$; the paper's choice for CIFAR-10 is 10.

    Source: Jia et al. 2022, "Prior-guided adversarial initialization for fast adversarial training".

    Examples
    --------
    >>> rule = PriorGuided(ThreatModel("inf", 0.1))
    >>> rule(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "fgsm-pgi"

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 10.0
    prior: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_not_negative("weight")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk at the perturbed points, and the squared change of the logits since the prior."""
        x, eps = x.detach(), self.threat.radius
        passes = Passes(model)
        start = (x + self._prior(x)).clamp(*self.threat.box).requires_grad_()
        before = passes.first(start)
        gradient = passes.slope(start, self.risk(before, y), lambda logits: self.risk(logits, y))
        start = start.detach()
        delta = project(start - x + eps * direction(gradient, start, self.threat), self.threat.p, eps)
        moved = (x + delta).clamp(*self.threat.box)
        self.prior = moved - x
        logits = passes.again(moved)
        change = (logits - before).square().mean()
        self.measured = {"change": change.detach()}
        return self.risk(logits, y).mean() + self.weight * change

    def _prior(self, x: Tensor) -> Tensor:
        """What the last batch ended with."""
        if self.prior is None or self.prior.shape[1:] != x.shape[1:] or len(self.prior) < len(x):
            return random_in_ball(x, self.threat.p, self.threat.radius, self.generator)
        return self.prior[: len(x)].to(x)

    @property
    def cost(self) -> Cost:
        """Both points forward and backward, and half a backward pass for the step."""
        return Cost(2, 2.5)

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state and the prior."""
        return {**super().state_dict(), "prior": None if self.prior is None else self.prior.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.prior = None if state["prior"] is None else torch.tensor(state["prior"], dtype=torch.float64)
