"""Rules made of rules: sums, and a radius that grows during training."""

import dataclasses
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holomorph.errors import ConfigError
from holomorph.rules.base import Cost, Rule
from holomorph.rules.schedule import ramped, scaled
from holomorph.threats import ThreatModel


@dataclass
class Sum(Rule):
    r"""The weighted sum of rules, $\sum_i w_i R_i$.

    Every rule contains a risk: weights that sum to 1 keep its size.

    Parameters
    ----------
    rules:
        At least one; each draws from its own generator.
    weights:
        One number a rule; all 1 by default.

    Examples
    --------
    >>> import torch
    >>> from holomorph.rules import NFGSM, Dirichlet
    >>> threat = ThreatModel("inf", 0.1)
    >>> rule = Sum([NFGSM(threat), Dirichlet(threat)], weights=(0.5, 0.5))
    >>> rule(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    >>> rule.cost.passes
    14.0
    """

    name = "sum"

    rules: Sequence[Rule]
    _: KW_ONLY
    weights: Sequence[float] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weights = tuple(self.weights) or (1.0,) * len(self.rules)
        if not self.rules or len(self.weights) != len(self.rules):
            raise ConfigError(f"There are {len(self.rules)} rules and {len(self.weights)} weights. Give one a rule.")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Sum of the weighted losses."""
        total = x.new_zeros(())
        self.measured = {}
        for weight, rule in zip(self.weights, self.rules, strict=True):
            rule.progress = self.progress
            total = total + weight * rule(model, x, y)
            self.measured |= {f"{rule.name}_{key}": value for key, value in rule.measured.items()}
        return total

    @property
    def cost(self) -> Cost:
        """Sum of the costs."""
        costs = [rule.cost for rule in self.rules]
        return Cost(sum(c.forward for c in costs), sum(c.backward for c in costs))

    @property
    def defends_against(self) -> ThreatModel | None:
        """The first threat among the rules."""
        return next((rule.defends_against for rule in self.rules if rule.defends_against is not None), None)

    @property
    def can_strengthen(self) -> bool:
        """Whether one of the rules can be strengthened."""
        return any(rule.can_strengthen for rule in self.rules)

    def strengthen(self) -> None:
        """Strengthen every rule that has a weight."""
        super().strengthen()
        for rule in self.rules:
            rule.strengthen()

    def reseed(self, seed: int) -> None:
        """Let every rule draw anew."""
        for number, rule in enumerate(self.rules):
            rule.reseed(seed + number)

    @property
    def replays(self) -> int:
        """The largest of the rules' own."""
        return max(rule.replays for rule in self.rules)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all rules."""
        return {**super().state_dict(), "rules": [rule.state_dict() for rule in self.rules]}

    def resume(self, states: Sequence[dict[str, Any]], process: int, processes: int) -> None:
        """Restore from the states of all processes."""
        super().resume(states, process, processes)
        for number, rule in enumerate(self.rules):
            rule.resume([state["rules"][number] for state in states], process, processes)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        for rule, part in zip(self.rules, state["rules"], strict=True):
            rule.load_state_dict(part)


@dataclass
class Growing(Rule):
    r"""A rule whose radius grows linearly during training, its measure's with it.

    $$\varepsilon(t) = \varepsilon\,\big(a + (1 - a)\min(1, t/\rho)\big)$$

    Large radii are learned more reliably so. Weights have their own ramp, the setting ``ramp`` of the rules that
    have a weight.

    Parameters
    ----------
    rule:
        Any rule with a threat.
    start:
        a, the share of the radius to begin with.
    over:
        ρ, the share of training after which the whole radius is reached.

    Raises
    ------
    ConfigError
        For a rule without a threat, or settings outside [0, 1].

    Examples
    --------
    >>> import torch
    >>> from holomorph.rules import PGD
    >>> rule = Growing(PGD(ThreatModel("inf", 0.2)), start=0.5)
    >>> rule.progress = 0.0
    >>> rule(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    >>> rule.rule.threat.radius
    0.1
    """

    name = "growing"

    rule: Rule
    _: KW_ONLY
    start: float = 0.0
    over: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        threat = getattr(self.rule, "threat", None)
        if not isinstance(threat, ThreatModel):
            raise ConfigError(f"The rule {self.rule.name!r} has no radius that could grow. Grow the rules inside it.")
        if not (0 <= self.start <= 1 and 0 < self.over <= 1):
            raise ConfigError(f"start is {self.start} and over is {self.over}; give shares of 1.")
        self.threat = threat
        self._measure: Any = getattr(self.rule, "measure", None)
        self._settings = self.rule.settings()

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the rule's loss at today's radius."""
        share = self.start + ramped(1 - self.start, self.progress, self.over)
        rule: Any = self.rule
        rule.progress = self.progress
        rule.threat = scaled(self.threat, share)
        if isinstance(getattr(self._measure, "threat", None), ThreatModel):
            rule.measure = dataclasses.replace(self._measure, threat=scaled(self._measure.threat, share))
        total = self.rule(model, x, y)
        self.measured = {**rule.measured, "radius": torch.tensor(share)}
        return total

    @property
    def cost(self) -> Cost:
        """That of the rule."""
        return self.rule.cost

    @property
    def can_strengthen(self) -> bool:
        """Whether the rule can be strengthened."""
        return self.rule.can_strengthen

    def strengthen(self) -> None:
        """Strengthen the rule."""
        super().strengthen()
        self.rule.strengthen()

    def reseed(self, seed: int) -> None:
        """Let the rule draw anew."""
        self.rule.reseed(seed)

    @property
    def replays(self) -> int:
        """That of the rule."""
        return self.rule.replays

    def settings(self) -> dict[str, Any]:
        """Return the settings at the full radius."""
        return {**super().settings(), "rule": {"rule": self.rule.name, **self._settings}}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the rule."""
        return {**super().state_dict(), "rule": self.rule.state_dict()}

    def resume(self, states: Sequence[dict[str, Any]], process: int, processes: int) -> None:
        """Restore from the states of all processes."""
        super().resume(states, process, processes)
        self.rule.resume([state["rule"] for state in states], process, processes)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.rule.load_state_dict(state["rule"])
