"""The Hardy rule: the mean square of a hypothesis on a circle around each sample bounds all its derivatives."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from holomorph.calculus.measures import Ball, Measure
from holomorph.calculus.norms import dual_direction
from holomorph.errors import ConfigError, NotHolomorphicError
from holomorph.rules.base import Cost, Rule
from holomorph.rules.passes import Passes
from holomorph.rules.probes import corner
from holomorph.rules.schedule import ramped
from holomorph.threats import ThreatModel


@dataclass
class Hardy(Rule):
    r"""Risk plus the mean square of the logits' change on a circle in the complexified input.

    $$\mathbb{E}\,\ell(x') + w\,\mathbb{E}\,\frac1m\sum_{k<m} \big|h(x' + e^{2\pi i k/m} v) - h(x')\big|^2,
    \qquad \|v\|_p = \varepsilon$$

    By Parseval the mean over the whole circle is $\sum_{k\ge1} |c_k|^2$, where $c_k$ are the Taylor coefficients
    of h along v in units of $|v|$: it bounds every order at once. With m = 2 the circle shrinks to the two real
    points x' ± v, which any network admits; m points exact up to order m - 1 need a network that takes complex
    inputs and is holomorphic in them.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    weight:
        w; grows linearly from 0 over the first ``ramp`` of training.
    points:
        m: 2 for real networks, 3 or more for analytic ones.
    along:
        v is ε times the dual direction of the loss's gradient (``"worst"``), or a random corner of the threat's
        ball (``"random"``).
    measure:
        Where x' is drawn; uniform in the threat's ball by default. The circle is not clipped to the box.

    Raises
    ------
    ConfigError
        For fewer than two points, a negative weight or an unknown direction.
    NotHolomorphicError
        If more than two points are asked of a network that cannot take complex inputs.

    Source: docs/mathematics.md, section 5; Hardy's norm is classical, its use as a rule is our own.

    Examples
    --------
    >>> rule = Hardy(ThreatModel("inf", 0.1))
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 3))
    >>> rule(model, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "hardy"

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 1.0
    points: int = 2
    along: Literal["worst", "random"] = "worst"
    measure: Measure = None  # type: ignore[assignment]  # filled in below: it needs the threat
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.measure = self.measure or Ball(self.threat)
        if self.points < 2:
            raise ConfigError(f"points is {self.points}; a circle needs at least 2.")
        self.require_not_negative("weight")
        if self.along not in ("worst", "random"):
            raise ConfigError(f"along is {self.along!r}; use 'worst' or 'random'.")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk plus the weighted mean square on the circle."""
        passes = Passes(model)
        drawn = self.measure.draw(x, self.generator, y, self.sample_loss(model, y)).detach().requires_grad_()
        here = passes.first(drawn)
        risk = self.risk(here, y)
        if self.weight == 0:
            return risk.mean()
        v = corner(x, self.threat, self.generator)
        if self.along == "worst":
            v = self.threat.radius * dual_direction(
                passes.slope(drawn, risk, lambda logits: self.risk(logits, y)), self.threat.p
            )
        squares = [
            (self._on_circle(passes, drawn.detach(), v, k) - here).abs().square().sum(1) for k in range(self.points)
        ]
        norm = torch.stack(squares).mean()
        self.measured = {"hardy": norm.detach()}
        return risk.mean() + ramped(self.weight, self.progress, self.ramp) * norm

    def _on_circle(self, passes: Passes, x: Tensor, v: Tensor, k: int) -> Tensor:
        if self.points == 2:
            return passes.again(x + v if k == 0 else x - v)
        angle = 2 * math.pi * k / self.points
        try:
            return passes.again(torch.complex(x + math.cos(angle) * v, math.sin(angle) * v))
        except (RuntimeError, NotImplementedError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise NotHolomorphicError(
                f"The network does not take complex inputs ({reason}), which points={self.points} needs. "
                "Use points=2, or a network whose layers are holomorphic."
            ) from error

    @property
    def cost(self) -> Cost:
        """The centre and the circle; half a backward pass for the direction; a complex pass counts as one."""
        if self.weight == 0:
            return Cost(1, 1)
        return Cost(1 + self.points, 1 + self.points + (0.5 if self.along == "worst" else 0))
