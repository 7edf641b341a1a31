"""The holomorphic rule and its maximum-margin variant: one complex derivative holds the whole energy."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holomorph.calculus.measures import Ball, Measure
from holomorph.calculus.norms import norm
from holomorph.contract.labels import class_indices
from holomorph.contract.model import Differentiable, own
from holomorph.errors import ConfigError, ModelError, unknown_name
from holomorph.rules.base import Cost, Rule
from holomorph.rules.schedule import ramped
from holomorph.threats import ThreatModel


@dataclass
class Holomorphic(Rule):
    r"""Distance to the label's code plus the energy of the complex derivative.

    $$\mathbb E\,|h(z') - c_y|^2 + w\,\mathbb E\sum_k(\varepsilon\,\|\partial h_k(z')\|_q)^2,\qquad
      z' = \iota(x'),\; x' \sim \mu(x)$$

    Mean over the batch, sum over outputs, no factor 1/2; $\|\cdot\|_q$ is taken of the moduli of the complex
    coordinates. Under pairing $|\partial h_k|_2 = |\nabla \mathrm{Re}\,h_k|_2$: one derivative is the whole energy.

    Parameters
    ----------
    threat:
        Norm, radius and box; the only setting without a default.
    weight:
        w, dimensionless; during ``fit`` it grows linearly from 0 over the first ``ramp`` of training.
    risk_of:
        ``"codes"``: $|h - c_y|^2$; ``"logits"``: cross-entropy of the read-out, for read-outs without codes to
        aim at, such as ``ModulusReadout``.
    measure:
        Where risk and energy are taken; by default uniform in the threat's ball around each sample.

    Raises
    ------
    ModelError
        For a network without ``embed``, ``hypothesis`` and ``codes``; see ``holomorph.nn.networks``.

    Source: docs/mathematics.md, section 4; Barati et al. 2021 and 2022 for holomorphic hypotheses; the measure and
    the normalisation are our own.

    Examples
    --------
    >>> from holomorph.nn.networks import HolomorphicMLP
    >>> rule = Holomorphic(ThreatModel(2, 0.1))
    >>> rule(HolomorphicMLP((2,), 3, width=4), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "holomorphic"
    second_order = True

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 1.0
    risk_of: Literal["codes", "logits"] = "codes"
    measure: Measure = None  # type: ignore[assignment]  # filled in below: it needs the threat
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.measure = self.measure or Ball(self.threat)
        self.require_not_negative("weight")
        if self.risk_of not in ("codes", "logits"):
            raise unknown_name("risk", self.risk_of, ("codes", "logits"))

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk plus weighted energy."""
        net = require_hypothesis(model)
        drawn = self.measure.draw(x, self.generator, y, self.sample_loss(model, y)).detach()
        z = net.embed(drawn).detach().requires_grad_()
        h = net.hypothesis(z)
        if self.risk_of == "codes" and self.risk_function is None:
            risk = (h - net.codes.to(h.dtype)[class_indices(y)]).abs().square().sum(1).mean()
        else:
            risk = self.risk(net.readout(h), y).mean()
        weight = ramped(self.weight, self.progress, self.ramp)
        if weight == 0:
            return risk
        energy = self.threat.radius**2 * squared_derivative(h, z, self.threat.q).mean()
        self.measured = {"risk": risk.detach(), "energy": energy.detach()}
        return risk + weight * energy

    @property
    def cost(self) -> Cost:
        """Passes of one sample, for ten outputs; a complex pass counts like a real one of the same network."""
        return Cost(1, 1 + 0.5 * 10 + 2.5)


@dataclass
class MaximumMargin(Rule):
    r"""The largest least margin, in units of the threat: a softened $\max_h\min_i$.

    $$-\max_h \min_i \min_{j \ne y_i} \frac{\mathrm{Re}(h_{y_i} - h_j)}{\varepsilon\,\|\partial(h_{y_i} - h_j)\|_q}$$

    The quotient estimates the distance to the boundary to first order and does not change when h is multiplied. The
    minimum over samples and runners-up is softened: $\tau\log\mathbb E\,e^{-m/\tau}$ tends to $-\min m$ as
    $\tau\to 0$ and to the mean as $\tau\to\infty$. For other codes than one-hot, differences of
    $\mathrm{Re}\langle h, c_k\rangle$ are taken.

    Parameters
    ----------
    threat:
        Norm and radius of the unit of length.
    temperature:
        tau, in those units.

    Raises
    ------
    ModelError
        For a network without ``embed``, ``hypothesis`` and ``codes``.

    Source: docs/mathematics.md, section 4; Barati et al. 2021 for the maximum-margin holomorphic classifier; the
    softening is our own.

    Examples
    --------
    >>> from holomorph.nn.networks import HolomorphicMLP
    >>> rule = MaximumMargin(ThreatModel(2, 0.1))
    >>> rule(HolomorphicMLP((2,), 3, width=4), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "maximum-margin"
    takes_risk = False
    second_order = True

    threat: ThreatModel
    _: KW_ONLY
    temperature: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise ConfigError(f"temperature is {self.temperature}; it must be positive.")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Minus the softened least margin."""
        net = require_hypothesis(model)
        z = net.embed(x).detach().requires_grad_()
        h = net.hypothesis(z)
        codes = net.codes.to(h.dtype)
        scores = (h @ codes.conj().mT).real - codes.abs().square().sum(1) / 2
        y = class_indices(y)
        right = scores.gather(1, y[:, None])
        margins = []
        for j in range(len(codes)):
            gap = right[:, 0] - scores[:, j]
            (slope,) = torch.autograd.grad(gap.sum(), z, create_graph=True)
            length = self.threat.radius * norm(slope.abs(), self.threat.q)
            margins.append(torch.where(y == j, torch.inf, gap / length.clamp_min(1e-12)))
        least = torch.stack(margins, 1).amin(1)
        self.measured = {"margin": least.detach().mean(), "least_margin": least.detach().min()}
        exponent = -least / self.temperature
        return self.temperature * (torch.logsumexp(exponent, 0) - torch.tensor(float(len(x))).log())

    @property
    def cost(self) -> Cost:
        """Passes of one sample, for ten classes."""
        return Cost(1, 1 + 0.5 * 10 + 2.5)


def squared_derivative(h: Tensor, z: Tensor, q: float) -> Tensor:
    r"""$\sum_k\|\partial h_k\|_q^2$ of each sample, (batch,), differentiable, for h holomorphic in the leaf z.

    torch's gradient of Re h is the conjugate of the derivative, of the same moduli.
    """
    total = torch.zeros(len(z), dtype=z.real.dtype, device=z.device)
    for column in h.real.unbind(1):
        (slope,) = torch.autograd.grad(column.sum(), z, create_graph=True)
        total = total + norm(slope.abs(), q).square()
    return total


def require_hypothesis(model: Differentiable) -> Any:
    """The user's network, after refusing one that does not show its complex hypothesis."""
    model = own(model)
    if not all(hasattr(model, name) for name in ("embed", "hypothesis", "codes", "readout")):
        raise ModelError(
            f"This rule needs a network that shows its complex hypothesis, not {type(model).__name__}. "
            "Use holomorph.nn.networks.HolomorphicMLP or HolomorphicCNN, or wrap a body in HolomorphicNetwork."
        )
    return model
