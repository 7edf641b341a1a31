"""The harmonic rule: risk, Dirichlet energy and the squared Laplacian around the samples."""

from dataclasses import KW_ONLY, dataclass

from torch import Tensor, nn

from holomorph.calculus.measures import Ball, Measure
from holomorph.calculus.norms import dual_direction
from holomorph.calculus.observables import SCALAR
from holomorph.errors import ConfigError
from holomorph.rules.base import Cost, Rule
from holomorph.rules.passes import Passes
from holomorph.rules.probes import corner
from holomorph.rules.schedule import ramped
from holomorph.threats import ThreatModel


@dataclass
class Harmonic(Rule):
    r"""Risk plus the energy of an observable plus the square of its Laplacian, all at drawn points.

    $$\mathbb{E}\Big[\ell(x') + w\,(\varepsilon\|\nabla g(x')\|_q)^2
    + \kappa\,(\varepsilon^2 n^{-2/p}\,\Delta g(x'))^2\Big], \qquad x' \sim \mu(x)$$

    Both terms are finite differences of size ε, so one backward pass suffices. The energy is taken along the dual
    direction. The Laplacian is taken by second differences $g(x'+v) - 2g(x') + g(x'-v)$ over two independent random
    corners v of the threat's ball. Their product has the square of the Laplacian as its mean, to order ε²; a single
    product may be negative.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    weight, curvature:
        w and κ, dimensionless; both grow linearly from 0 over the first ``ramp`` of training.
    observable:
        ``"loss"`` or ``"margin"``.
    measure:
        Where x' is drawn; uniform in the threat's ball by default. The second differences are not clipped to
        the box: clipping would bend them.

    Raises
    ------
    ConfigError
        For a negative weight or an observable of several components.

    Source: docs/mathematics.md, section 3; Barati et al. 2022 connect robustness with harmonic functions, the
    rule in this form is our own.

    Examples
    --------
    >>> import torch
    >>> rule = Harmonic(ThreatModel("inf", 0.1))
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 3))
    >>> rule(model, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "harmonic"
    second_order = True

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 1.0
    curvature: float = 1.0
    observable: str = "loss"
    measure: Measure = None  # type: ignore[assignment]  # filled in below: it needs the threat
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.measure = self.measure or Ball(self.threat)
        self._observe = self.observed(self.observable)
        if self.observable not in SCALAR:
            raise ConfigError(f"The harmonic rule follows one number a sample, not {self.observable!r}. Use loss.")
        if not (self.weight >= 0 and self.curvature >= 0):
            raise ConfigError(f"weight {self.weight} and curvature {self.curvature} must not be negative.")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk, energy and squared Laplacian."""
        passes = Passes(model)
        drawn = self.measure.draw(x, self.generator, y, self.sample_loss(model, y)).detach().requires_grad_()
        logits = passes.first(drawn)
        risk = self.risk(logits, y).mean()
        if self.weight == 0 and self.curvature == 0:
            return risk
        here = self._observe(logits, y)
        energy = self._rise(passes, drawn, here, y).square().mean()
        laplacian = self._second_difference(passes, drawn, here, y)
        square = (laplacian * self._second_difference(passes, drawn, here, y)).mean()
        self.measured = {"risk": risk.detach(), "energy": energy.detach(), "laplacian": laplacian.detach().mean()}
        grown = ramped(1.0, self.progress, self.ramp)
        return risk + grown * (self.weight * energy + self.curvature * square)

    def _rise(self, passes: Passes, x: Tensor, here: Tensor, y: Tensor) -> Tensor:
        step = self.threat.radius * dual_direction(
            passes.slope(x, here, lambda logits: self._observe(logits, y)), self.threat.p
        )
        return self._observe(passes.again(x.detach() + step), y) - here

    def _second_difference(self, passes: Passes, x: Tensor, here: Tensor, y: Tensor) -> Tensor:
        x = x.detach()
        v = corner(x, self.threat, self.generator)
        return self._observe(passes.again(x + v), y) - 2 * here + self._observe(passes.again(x - v), y)

    @property
    def cost(self) -> Cost:
        """Six points, and half a backward pass for the direction."""
        return Cost(6, 6.5) if self.weight > 0 or self.curvature > 0 else Cost(1, 1)
