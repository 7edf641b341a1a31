"""What each training may cost: so many epochs, or so much time."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import torch
from torch import nn

from holomorph.data import Splits, as_input
from holomorph.errors import ConfigError
from holomorph.rules import Rule

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
#: Least number of trial steps, spread evenly over the schedule; there are so many more that a rule's period fits in.
_STEPS = 20


@dataclass(frozen=True)
class Budget:
    """An equal allowance for every rule: ``epochs`` or ``seconds``, the other is None.

    >>> Budget.parse("6epochs"), Budget.parse("10m")
    (Budget(epochs=6, seconds=None), Budget(epochs=None, seconds=600.0))
    """

    epochs: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``6epochs``, ``90s``, ``10m`` or ``1.5h``.

        Raises
        ------
        ConfigError
            For anything else.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(epochs?|[smh])\s*", text)
        number = float(match[1]) if match else 0.0
        if match is None or number <= 0 or (match[2].startswith("e") and number != int(number)):
            raise ConfigError(f"Cannot read the budget {text!r}. Write it as 6epochs, 90s, 10m or 1.5h.")
        if match[2].startswith("e"):
            return cls(epochs=int(number))
        return cls(seconds=number * _UNITS[match[2]])

    def epochs_for(self, rule: Rule, model: nn.Module, splits: Splits, batch_size: int) -> int:
        """How many epochs of ``fit`` the rule may use: at least one.

        A rule that takes each batch several times (FreeAT) gets as many epochs fewer. A time is turned into epochs
        by a short trial of the rule, whose outcome a comparison notes, so that it resumes with the same number.

        Raises
        ------
        ConfigError
            For a batch size below 1.
        """
        if self.seconds is None:
            return max(1, (self.epochs or 1) // rule.replays)
        steps = -(-len(splits.x_train) // batch_size) * rule.replays
        return max(1, int(self.seconds / (steps * _seconds_a_step(rule, model, splits, batch_size))))


def _seconds_a_step(rule: Rule, model: nn.Module, splits: Splits, batch_size: int) -> float:
    """The mean over a whole schedule in few steps, since a rule's cost changes while it trains.

    The faster of two trials counts: other programs can only slow one down. A step before them warms up.
    """
    steps = -(-_STEPS // rule.period) * rule.period
    x, y = as_input(splits.x_train[:batch_size], splits.box), splits.y_train[:batch_size]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)

    def step(progress: float) -> None:
        rule.progress = progress
        optimizer.zero_grad()
        torch.autograd.backward(rule(model, x, y))
        optimizer.step()

    def trial() -> float:
        start = time.perf_counter()
        for k in range(steps):
            step((k + 0.5) / steps)
        return (time.perf_counter() - start) / steps

    step(0.0)
    return min(trial(), trial())
