"""Adversarial training: the risk at the worst point that projected gradient ascent finds."""

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from holomorph.calculus.ascent import direction, maximise
from holomorph.calculus.norms import random_in_ball
from holomorph.calculus.risk_gradient import gradient_of_risk
from holomorph.contract.model import evaluating
from holomorph.errors import ConfigError
from holomorph.rules.base import Cost, Rule
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into


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
    patience:
        Stop the ascent of a sample this many steps after its prediction has become wrong; 0 as soon as it is. By
        default every sample takes all steps. Milder and cheaper: :attr:`cost` counts the steps that were taken.

    Source: Madry et al. 2018; Zhang et al. 2020, "Attacks which do not kill training make adversarial learning
    stronger", for the early stopping.

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
    patience: int | None = None
    taken: float = field(default=0.0, init=False, repr=False)
    asked: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("steps", "restarts")
        if self.patience is None:
            return
        self.require_not_negative("patience")
        if self.restarts > 1:
            raise ConfigError("An ascent that stops early has one start. Give restarts=1, or no patience.")

    def perturbed(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the worst points found, without a graph."""
        with evaluating(model):
            if self.patience is not None:
                return self._stopped(model, x.detach(), y, self.patience)
            return maximise(
                lambda z: self.risk(model(z), y),
                x.detach(),
                self.threat,
                self.generator,
                steps=self.steps,
                restarts=self.restarts,
                random_start=self.random_start,
            )

    def _stopped(self, model: nn.Module, x: Tensor, y: Tensor, patience: int) -> Tensor:
        """Points of an ascent that each sample leaves ``patience`` steps after its prediction is wrong."""
        z, step, labels = x, 2.5 * self.threat.radius / self.steps, y if y.ndim == 1 else y.argmax(1)
        if self.random_start:
            z = (x + random_in_ball(x, self.threat.p, self.threat.radius, self.generator)).clamp(*self.threat.box)
        left, on = torch.full((len(x),), patience, device=x.device), torch.arange(len(x), device=x.device)
        for _ in range(self.steps):
            points = z[on].requires_grad_()
            logits = model(points)
            gradient = gradient_of_risk(self.risk(logits, y[on]), points)
            left[on] -= (logits.argmax(1) != labels[on]).long()
            goes = left[on] >= 0
            self.taken, on = self.taken + len(on) / len(x), on[goes]
            points = points.detach()[goes]
            moved = points + step * direction(gradient[goes], points, self.threat)
            z = z.index_copy(0, on, into(x[on], moved, self.threat))
            if not len(on):
                break
        self.asked += 1
        return z

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk at the worst points."""
        return self.risk(model(self.perturbed(model, x, y)), y).mean()

    @property
    def cost(self) -> Cost:
        """A step is a forward and half a backward pass (no gradients of parameters)."""
        attacks = self.taken / self.asked if self.asked else self.steps * self.restarts
        compare = self.restarts if self.restarts > 1 else 0
        return Cost(1 + attacks + compare, 1 + 0.5 * attacks)

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state and the steps taken."""
        return {**super().state_dict(), "taken": [self.taken, self.asked]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.taken, self.asked = state.get("taken", (self.taken, self.asked))
