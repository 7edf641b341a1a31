"""The Jacobian penalty: the Frobenius norm of the logits' Jacobian by random projection."""

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn

from holomorph._utils.seeding import normal
from holomorph.calculus.risk_gradient import gradient_of_risk
from holomorph.rules.base import Cost, Rule
from holomorph.rules.gradients import require_double_backward
from holomorph.threats import ThreatModel


@dataclass
class JacobianPenalty(Rule):
    r"""Risk plus half the squared Frobenius norm of the Jacobian of the logits, at the samples.

    $$\mathbb{E}\,\ell(x) + \frac{\lambda}{2}\,\mathbb{E}\,\|J(x)\|_F^2, \qquad
    \|J\|_F^2 = K\,\mathbb{E}_v\,\|J^\top v\|_2^2, \quad v \sim \mathcal{U}(S^{K-1})$$

    The threat is taken for uniformity with the other rules and not used: the paper's weight is not dimensionless.

    Parameters
    ----------
    threat:
        Not used.
    weight:
        λ; the paper uses 0.01.
    projections:
        Number of directions v a sample.

    Source: Hoffman, Roberts and Yaida 2019.

    Examples
    --------
    >>> rule = JacobianPenalty(ThreatModel(2, 0.5))
    >>> rule(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "jacobian"
    second_order = True

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 0.01
    projections: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("projections")
        self.require_not_negative("weight")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk plus the weighted penalty."""
        if self.weight > 0:
            require_double_backward(model)
        x = x.detach().requires_grad_(self.weight > 0)
        logits = model(x)
        risk = self.risk(logits, y).mean()
        if self.weight == 0:
            return risk
        square = torch.zeros((), dtype=logits.dtype, device=logits.device)
        for _ in range(self.projections):
            v = normal(logits.shape, logits, self.generator)
            v = v / v.norm(dim=1, keepdim=True)
            row = gradient_of_risk((logits * v).sum(1), x, graph=True)
            square = square + logits.shape[1] * row.flatten(1).square().sum(1).mean() / self.projections
        self.measured = {"jacobian": square.detach()}
        return risk + self.weight / 2 * square

    @property
    def cost(self) -> Cost:
        """One pass, and a gradient differentiated again for each projection."""
        return Cost(1, 1 + 3 * self.projections) if self.weight > 0 else Cost(1, 1)
