"""The Cauchy-Riemann rule: a complex network that need not be holomorphic is drawn towards it."""

from dataclasses import KW_ONLY, dataclass

from torch import Tensor, nn

from holomorph.calculus.measures import Ball, Measure
from holomorph.calculus.wirtinger import cauchy_riemann_residual
from holomorph.errors import ConfigError
from holomorph.rules.base import Cost, Rule
from holomorph.rules.holomorphic import require_hypothesis
from holomorph.rules.schedule import ramped
from holomorph.threats import ThreatModel


@dataclass
class CauchyRiemann(Rule):
    r"""Cross-entropy of the read-out plus the share of the derivative that breaks holomorphy.

    $$\mathbb E\,\ell(\mathrm{readout}(h(z')), y) + w\,\frac{\mathbb E|\bar\partial h(z')|^2}
      {\mathbb E|\partial h(z')|^2}, \qquad z' = \iota(x'),\; x' \sim \mu(x)$$

    For complex networks with layers such as complex ReLU or normalisation. For a holomorphic one the penalty is zero.

    Parameters
    ----------
    threat:
        Norm, radius and box; the only setting without a default.
    weight:
        w, dimensionless; during ``fit`` it grows linearly from 0 over the first ``ramp`` of training.
    measure:
        Where both are taken; by default uniform in the threat's ball around each sample.
    probes:
        Random combinations of the outputs (two backward passes each) in place of all outputs; 0 for all.

    Raises
    ------
    ModelError
        For a network without ``embed``, ``hypothesis``, ``codes`` and ``readout``.

    Source: docs/mathematics.md, section 4.

    Examples
    --------
    >>> import torch
    >>> from holomorph.nn.networks import HolomorphicMLP
    >>> rule = CauchyRiemann(ThreatModel(2, 0.1))
    >>> rule(HolomorphicMLP((2,), 3, width=4), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "cauchy-riemann"
    second_order = True

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 1.0
    measure: Measure = None  # type: ignore[assignment]  # filled in below: it needs the threat
    probes: int = 1
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.measure = self.measure or Ball(self.threat)
        if not self.weight >= 0 or self.probes < 0:
            raise ConfigError("weight and probes must not be negative.")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk plus weighted residual."""
        net = require_hypothesis(model)
        drawn = self.measure.draw(x, self.generator, y, self.sample_loss(model, y)).detach()
        z = net.embed(drawn)
        risk = self.risk(net.readout(net.hypothesis(z)), y).mean()
        weight = ramped(self.weight, self.progress, self.ramp)
        if weight == 0:
            return risk
        residual = cauchy_riemann_residual(net.hypothesis, z.detach(), probes=self.probes, generator=self.generator)
        self.measured = {"risk": risk.detach(), "residual": residual.detach()}
        return risk + weight * residual

    @property
    def cost(self) -> Cost:
        """Passes of one sample; all outputs counted as ten."""
        return Cost(2, 1 + (self.probes or 10) + 2.5)
