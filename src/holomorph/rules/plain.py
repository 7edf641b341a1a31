"""Empirical risk minimisation: the rule that every other one is compared with."""

from dataclasses import dataclass

from torch import Tensor, nn

from holomorph.rules.base import Cost, Rule


@dataclass
class Plain(Rule):
    r"""The mean cross-entropy $\mathbb{E}\,\ell(h(x), y)$ at the samples; no defence.

    >>> import torch
    >>> Plain()(torch.nn.Linear(2, 3), torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)).item() > 0
    True
    """

    name = "plain"

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy."""
        return self.risk(model(x), y).mean()

    @property
    def cost(self) -> Cost:
        """One forward and one backward pass."""
        return Cost(1, 1)
