"""The weakly-harmonic rule: the Euler-Lagrange equation of the Dirichlet rule, tested on ridge functions."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from holomorph._utils.seeding import normal
from holomorph.calculus.measures import Ball, Measure
from holomorph.contract.labels import class_indices
from holomorph.errors import ConfigError
from holomorph.rules.base import Cost, Rule
from holomorph.rules.passes import Passes
from holomorph.rules.schedule import ramped
from holomorph.threats import ThreatModel


@dataclass
class WeaklyHarmonic(Rule):
    r"""Risk plus the residual of the weak form of the Dirichlet rule.

    $$\mathbb{E}\,\ell + w\,\frac{1}{JK}\sum_{j,k} r_{jk}^2, \qquad
    r_{jk} = \frac{\mathbb{E}[(p_k - y_k)\,\psi_j] + \lambda\varepsilon^2\,\mathbb{E}\langle\nabla h_k,
    \nabla\psi_j\rangle}{(\varepsilon^2\,\mathbb{E}|\nabla\psi_j|^2)^{1/2}}$$

    with p = softmax h and the test functions $\psi_j(x) = \exp(-t_j^2/2)$, $t_j = (\langle a_j, x\rangle - b_j)/s_j$:
    Gaussian ridges along random unit vectors $a_j$ through random samples, of width $s_j$ = ``width`` standard
    deviations of $\langle a_j, x\rangle$ over the batch. Every r vanishes where h minimises risk plus
    $\frac{\lambda\varepsilon^2}{2}\mathbb{E}|\nabla h|^2$ over the drawn points. The derivative along $a_j$ is a
    central difference of l_2 length ε.

    For inputs or features of low dimension: in high dimension few ridges say little. A residual is a mean over the
    batch, so its square is too large by its variance divided by the batch size.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    weight:
        w; grows linearly from 0 over the first ``ramp`` of training.
    strength:
        λ, the weight of the energy in the equation.
    functions:
        J, drawn anew at every call.
    width:
        Of the ridges, in standard deviations.
    measure:
        Where the equation is tested; uniform in the threat's ball by default.

    Source: docs/mathematics.md, section 2. Barati et al. 2023 speak of weakly-harmonic hypotheses; this form of the
    residual is our own.

    Examples
    --------
    >>> rule = WeaklyHarmonic(ThreatModel(2, 0.1))
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 3))
    >>> rule(model, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "weakly-harmonic"

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 1.0
    strength: float = 1.0
    functions: int = 8
    width: float = 1.0
    measure: Measure = None  # type: ignore[assignment]  # filled in below: it needs the threat
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.measure = self.measure or Ball(self.threat)
        self.require_positive("functions")
        if not (self.weight >= 0 and self.strength >= 0 and self.width > 0):
            raise ConfigError("weight and strength must not be negative, and width must be positive.")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk plus the mean squared residual."""
        passes = Passes(model)
        drawn = self.measure.draw(x, self.generator, y, self.sample_loss(model, y)).detach()
        logits = passes.first(drawn)
        risk = self.risk(logits, y).mean()
        if self.weight == 0:
            return risk
        source = logits.softmax(1) - one_hot(class_indices(y), logits.shape[1])
        squares = [self._residual(passes, drawn, source).square().mean() for _ in range(self.functions)]
        residual = torch.stack(squares).mean()
        self.measured = {"risk": risk.detach(), "residual": residual.detach()}
        return risk + ramped(self.weight, self.progress, self.ramp) * residual

    def _residual(self, passes: Passes, x: Tensor, source: Tensor) -> Tensor:
        """Return r of one test function for every output; shape (K,)."""
        eps = self.threat.radius
        a = normal(x.shape[1:], x, self.generator)
        a = a / a.norm()
        index = torch.randint(len(x), (1,), generator=self.generator, device=self.generator.device).to(x.device)
        heights = (x * a).flatten(1).sum(1)
        s = self.width * heights.std(correction=0) + eps
        t = ((heights - heights[index]) / s)[:, None]
        psi = (-t.square() / 2).exp()
        slope = -t / s * psi  # the derivative of psi along a, and the length of its gradient
        along = (passes.again(x + eps * a) - passes.again(x - eps * a)) / (2 * eps)
        weak = (source * psi).mean(0) + self.strength * eps**2 * (along * slope).mean(0)
        length = eps * slope.square().mean().sqrt()
        # A ridge without a slope, as on a batch of one, tests nothing.
        return torch.where(length > 0, weak / length.clamp_min(torch.finfo(x.dtype).eps), 0.0)

    @property
    def cost(self) -> Cost:
        """The drawn point and two more for each test function."""
        return Cost(1 + 2 * self.functions, 1 + 2 * self.functions) if self.weight > 0 else Cost(1, 1)
