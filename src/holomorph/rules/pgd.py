"""Adversarial training: the risk at the worst point that projected gradient ascent finds."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from torch import Tensor, nn

from holomorph.calculus.ascent import maximise
from holomorph.contract.model import evaluating
from holomorph.rules.base import Cost, Rule
from holomorph.threats import ThreatModel


@dataclass
class PGD(Rule):
    r"""Risk at points that ascend the loss inside the threat.

    $$\mathbb{E}\,\max_{\delta}\,\ell(x + \delta)$$

    the maximum replaced by ``steps`` projected steps of $2.5\,\varepsilon/\mathrm{steps}$. The points are found on
    the network in evaluation mode.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    steps, restarts:
        Length of an ascent, and how many are tried; the worst point of each sample counts.
    random_start:
        Start uniformly in the ball, else at the sample.

    Source: Madry et al. 2018.

    Examples
    --------
    >>> import torch
    >>> rule = PGD(ThreatModel("inf", 0.1), steps=3)
    >>> rule(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "pgd"

    threat: ThreatModel
    _: KW_ONLY
    steps: int = 10
    restarts: int = 1
    random_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("steps", "restarts")

    def perturbed(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the worst points found, without a graph."""
        with evaluating(model):
            return maximise(
                lambda z: self.risk(model(z), y),
                x.detach(),
                self.threat,
                self.generator,
                steps=self.steps,
                restarts=self.restarts,
                random_start=self.random_start,
            )

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk at the worst points."""
        return self.risk(model(self.perturbed(model, x, y)), y).mean()

    @property
    def cost(self) -> Cost:
        """A step is a forward and half a backward pass (no gradients of parameters)."""
        attacks = self.steps * self.restarts
        compare = self.restarts if self.restarts > 1 else 0
        return Cost(1 + attacks + compare, 1 + 0.5 * attacks)
