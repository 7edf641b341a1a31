"""The Dirichlet rule: risk plus the energy of an observable on a measure around the samples."""

import warnings
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holomorph._utils.seeding import normal
from holomorph.calculus.measures import Ball, Measure, Samples
from holomorph.calculus.norms import dual_direction, dual_gain
from holomorph.calculus.observables import SCALAR
from holomorph.calculus.risk_gradient import gradient_of_risk
from holomorph.contract.model import evaluating, own
from holomorph.errors import ConfigError, HolomorphWarning, known_name, unknown_name
from holomorph.rules.base import Cost, Rule
from holomorph.rules.gradients import require_double_backward
from holomorph.rules.passes import Passes
from holomorph.rules.schedule import ramped
from holomorph.threats import ThreatModel

ESTIMATORS = ("auto", "double-backward", "finite-difference", "random-projection")


@dataclass
class Dirichlet(Rule):
    r"""Risk plus Dirichlet energy, made dimensionless by the threat.

    $$\mathbb{E}\,\ell(h(x'), y) + w\,\mathbb{E}\big[(\varepsilon\,\|\nabla g(x')\|_q)^{k}\big],
    \qquad x' \sim \mu(x)$$

    Mean over the batch, no factor 1/2; q is dual to the threat's norm; k is the ``power``. For a vector
    observable $\|\nabla g\|_q^2 = \sum_j \|\nabla g_j\|_q^2$, for q = 2 the Frobenius norm of the Jacobian.

    Parameters
    ----------
    threat:
        Norm, radius and box; the only setting without a default.
    weight:
        w, dimensionless. During ``fit`` it grows linearly from 0 over the first ``ramp`` of training.
    observable:
        ``"loss"``, ``"margin"``, ``"logits"``, ``"probabilities"`` or ``"fisher"``.
    power:
        1 or 2.
    measure:
        Where the energy is taken; by default uniform in the threat's ball around each sample. Energy at the
        samples alone is escaped by a small plateau around each.
    risk_at:
        Whether the cross-entropy is taken at the ``"measure"`` (one forward pass fewer) or the ``"samples"``.
    box_aware:
        Count only perturbations that stay inside the box (l_inf).
    estimator:
        ``"double-backward"`` is exact. ``"finite-difference"`` needs one backward pass only:
        $g(x' + \varepsilon s) - g(x')$ along the dual direction s. ``"random-projection"`` is for the l_2 energy
        of vector observables. ``"auto"`` takes the first that the model allows.
    lazy:
        Take the energy at every k-th call only, with k times the weight.

    Raises
    ------
    ConfigError
        For a setting outside its domain, or an estimator that cannot serve the norm or the observable.

    Source: docs/mathematics.md, section 2; Barati et al. 2022 and 2023 for risk + Dirichlet energy; the measure
    on the threat's ball and the normalisation are our own.

    Examples
    --------
    >>> rule = Dirichlet(ThreatModel("inf", 0.1))
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 3))
    >>> rule(model, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "dirichlet"
    second_order = True

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 1.0
    observable: str = "loss"
    power: int = 2
    measure: Measure = None  # type: ignore[assignment]  # filled in below: it needs the threat
    risk_at: Literal["measure", "samples"] = "measure"
    box_aware: bool = False
    estimator: str = "auto"
    lazy: int = 1
    ramp: float = 0.5
    calls: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.measure = self.measure or Ball(self.threat)
        self._one_place = self.risk_at == "measure" or isinstance(self.measure, Samples)  # then one forward serves both
        self._observe = self.observed(self.observable)
        self._allowed = "auto"  # what the model allows: known once it was called
        self._probed: int | None = None  # which model that was
        self._columns = 1  # outputs to differentiate: known once the model was called
        self._check()

    def _check(self) -> None:
        self.estimator = known_name("estimator", self.estimator, ESTIMATORS)
        if self.power not in (1, 2):
            raise ConfigError(f"power is {self.power}; the energy is defined for 1 and 2.")
        if not self.weight >= 0:
            raise ConfigError(f"weight is {self.weight}; it must not be negative.")
        if self.lazy < 1:
            raise ConfigError(f"lazy is {self.lazy}; take the energy every 1, 2, ... steps.")
        if self.risk_at not in ("measure", "samples"):
            raise unknown_name("place of the risk", self.risk_at, ("measure", "samples"))
        scalar = self.observable in SCALAR
        if self.estimator == "random-projection" and (scalar or self.threat.q != 2):
            raise ConfigError(
                "random-projection estimates the l_2 energy of a vector observable only: "
                "E|J^T v|_1 is not the l_1 norm. Use double-backward or finite-difference."
            )
        if self.estimator == "random-projection" and self.power == 1:
            raise ConfigError(
                "random-projection estimates the square |J|^2 without bias, not its root. Use power=2, or "
                "double-backward."
            )
        if self.estimator == "finite-difference" and not scalar:
            raise ConfigError(
                f"finite-difference follows the gradient of one number a sample; {self.observable!r} has several. "
                "Use double-backward, or random-projection for l_2 threats."
            )

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk plus weighted energy."""
        self.calls += 1
        passes = Passes(model)
        weight = ramped(self.weight, self.progress, self.ramp) * self.lazy
        with_energy = weight > 0 and self.calls % self.lazy == 0
        if not with_energy and self.risk_at == "samples":
            return self.risk(passes.first(x), y).mean()
        drawn = self.measure.draw(x, self.generator, y, self.sample_loss(model, y)).detach()
        drawn.requires_grad_(with_energy)
        if self._one_place:
            outputs = passes.first(drawn)
            risk = self.risk(outputs, y).mean()
        else:
            risk = self.risk(passes.first(x), y).mean()
            outputs = passes.again(drawn)
        if not with_energy:
            return risk
        if self.estimator == "auto" and self._probed != id(own(model)):
            self._allowed, self._probed = self._probe(model, x, y), id(own(model))
        if self._chosen != "finite-difference":
            require_double_backward(model)
        energy = self._energy(passes, drawn, outputs, y).mean()
        self.measured = {"risk": risk.detach(), "energy": energy.detach()}
        return risk + weight * energy

    @property
    def _chosen(self) -> str:
        return self._allowed if self.estimator == "auto" else self.estimator

    def _energy(self, passes: Passes, x: Tensor, outputs: Tensor, y: Tensor) -> Tensor:
        r"""$(\varepsilon\|\nabla g\|_q)^k$ of each sample."""
        g = self._observe(outputs, y)
        if self._chosen == "finite-difference":
            return self._finite_difference(passes, x, g, y)
        if self._chosen == "random-projection":
            v = normal(g.shape, g, self.generator)
            columns = [(g * v).sum(1)]
        else:
            columns = [g] if g.ndim == 1 else list(g.unbind(1))
        self._columns = len(columns)
        gradients = [gradient_of_risk(column, x, graph=True) for column in columns]
        gains = [dual_gain(gradient, x, self.threat, box_aware=self.box_aware) for gradient in gradients]
        if len(gains) == 1:
            return gains[0] ** self.power
        square = torch.stack(gains).square().sum(0)
        return square if self.power == 2 else (square + torch.finfo(square.dtype).tiny).sqrt()

    def _finite_difference(self, passes: Passes, x: Tensor, g: Tensor, y: Tensor) -> Tensor:
        # Only the input's gradient is asked for, and the clean forward pass serves the risk as well: 7 passes.
        step = self.threat.radius * dual_direction(
            passes.slope(x, g, lambda outputs: self._observe(outputs, y)), self.threat.p
        )
        if self.box_aware:
            step = (x + step).clamp(*self.threat.box) - x
        return (self._observe(passes.again((x + step).detach()), y) - g).abs() ** self.power

    def _probe(self, model: nn.Module, x: Tensor, y: Tensor) -> str:
        """Try double differentiation once, on a whole batch: some networks take one number of samples only."""
        z, labels = x.detach().requires_grad_(), y
        parameters = [p for p in model.parameters() if p.requires_grad]
        try:
            require_double_backward(model)
            with evaluating(model):
                gradient = gradient_of_risk(self._observe(model(z), labels), z, graph=True)
            torch.autograd.grad(gradient.square().sum(), [z, *parameters], allow_unused=True)
        except (RuntimeError, NotImplementedError, ConfigError) as error:
            reason = str(error).splitlines()[0]
            if self.observable not in SCALAR:
                raise ConfigError(
                    f"The model cannot be differentiated twice ({reason}), which the energy of {self.observable!r} "
                    "needs. Use observable='loss' or 'margin'."
                ) from error
            warnings.warn(
                f"The model cannot be differentiated twice ({reason}); using finite differences instead.",
                HolomorphWarning,
                stacklevel=2,
            )
            return "finite-difference"
        return "double-backward"

    @property
    def period(self) -> int:
        """The lazy period."""
        return self.lazy

    @property
    def cost(self) -> Cost:
        """Passes of one sample, averaged over a lazy period."""
        if self.weight == 0:
            return Cost(1, 1)
        once = Cost(1, 1) if self._one_place else Cost(2, 2)
        extra = Cost(1, 1.5) if self._chosen == "finite-difference" else Cost(0, 0.5 * self._columns + 2.5)
        return Cost(once.forward + extra.forward / self.lazy, once.backward + extra.backward / self.lazy)

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state, the place in the lazy period, and what the cost was counted by."""
        return {**super().state_dict(), "calls": self.calls, "counted": [self._allowed, self._columns]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.calls = state["calls"]
        self._allowed, self._columns = state.get("counted", (self._allowed, self._columns))
