"""How to train: everything but the model, the data and the rule that changes the numbers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from holomorph.contract.settings import at_least_one, check_seed
from holomorph.errors import ConfigError, unknown_name

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}

#: An optimizer of the user's own: the parameters to train to an optimizer of torch.
MakeOptimizer = Callable[[Sequence[Tensor]], Optimizer]

#: A schedule of the user's own: optimizer and total steps to a scheduler, which is stepped after every step.
MakeScheduler = Callable[[Optimizer, int], LRScheduler]

SCHEDULES: dict[str, MakeScheduler] = {
    "one-cycle": lambda optimizer, total: OneCycleLR(
        optimizer, max_lr=[group["lr"] for group in optimizer.param_groups], total_steps=total + 1
    ),
    "constant": lambda optimizer, total: LambdaLR(optimizer, lambda step: 1.0),
}


#: More epochs are a slip of the keyboard.
MOST_EPOCHS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; a value outside its domain is refused with a ConfigError."""

    epochs: int = 6
    batch_size: int = 64  # of one step, which learning rates go with; measurements take 250 at once
    lr: float = 4e-3
    optimizer: str | Optimizer | MakeOptimizer = "adam"
    weight_decay: float = 0.0
    ema: float | None = None
    seed: int = 0
    schedule: str | MakeScheduler = "one-cycle"
    accumulate: int = 1
    clip: float | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if isinstance(self.optimizer, str) and self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZERS)
        if not isinstance(self.optimizer, str | Optimizer) and not callable(self.optimizer):
            raise ConfigError(f"The optimizer is {type(self.optimizer).__name__}. Name one, or give one of torch.")
        if isinstance(self.schedule, str) and self.schedule not in SCHEDULES:
            raise unknown_name("schedule", self.schedule, SCHEDULES)
        at_least_one(epochs=self.epochs, batch_size=self.batch_size, accumulate=self.accumulate)
        if self.epochs > MOST_EPOCHS:
            raise ConfigError(f"epochs is {self.epochs}; it must be at most {MOST_EPOCHS}, which no training needs.")
        if not 0 < self.lr < math.inf:
            raise ConfigError(f"The learning rate is {self.lr}; it must be positive.")
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight_decay is {self.weight_decay}; it must be 0 or more, and finite.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"ema is {self.ema}; the decay of the averaged weights must lie between 0 and 1.")
        if self.clip is not None and not self.clip > 0:
            raise ConfigError(f"clip is {self.clip}; the largest norm of the gradients must be positive.")

    def make_optimizer(self, parameters: Sequence[Tensor]) -> Optimizer:
        """The optimizer; weights of one dimension, which are biases and scales of norms, do not decay."""
        if not isinstance(self.optimizer, str):
            return self._own_optimizer(parameters)
        extra = {"momentum": 0.9} if self.optimizer == "sgd" else {}
        groups: list[dict[str, Any]] = [{"params": list(parameters), "weight_decay": self.weight_decay}]
        if self.weight_decay > 0:
            decaying = [p for p in parameters if p.ndim > 1]
            spared = [p for p in parameters if p.ndim <= 1]
            groups = [{"params": part, "weight_decay": decay}
                      for part, decay in ((decaying, self.weight_decay), (spared, 0.0)) if part]  # fmt: skip
        return OPTIMIZERS[self.optimizer](groups, lr=self.lr, **extra)

    def _own_optimizer(self, parameters: Sequence[Tensor]) -> Optimizer:
        """The optimizer that was given or is made by the factory, if it trains this model."""
        given = self.optimizer
        made = given if isinstance(given, Optimizer | str) else given(parameters)
        if not isinstance(made, Optimizer):
            raise ConfigError(f"The optimizer's factory returned {type(made).__name__}. Return a torch optimizer.")
        held = {id(p) for group in made.param_groups for p in group["params"]}
        if not any(id(p) in held for p in parameters):
            raise ConfigError(
                "The optimizer holds no parameter of the model. Make it from model.parameters(), or give a function."
            )
        return made

    @property
    def optimizer_name(self) -> str:
        """The optimizer's name, or its class or factory."""
        given = self.optimizer
        if isinstance(given, str):
            return given
        return type(given).__name__ if isinstance(given, Optimizer) else getattr(given, "__qualname__", "own")

    def make_scheduler(self, optimizer: Optimizer, total: int) -> LRScheduler:
        """The schedule of the learning rate over so many steps."""
        make = SCHEDULES[self.schedule] if isinstance(self.schedule, str) else self.schedule
        return make(optimizer, total)

    def noted(self) -> dict[str, Any]:
        """What must be the same when a run is taken up again; what has its default is left out if it is new."""
        made = self.schedule if isinstance(self.schedule, str) else getattr(self.schedule, "__qualname__", "own")
        found = {**vars(self), "optimizer": self.optimizer_name, "schedule": None if made == "one-cycle" else made}
        found["accumulate"] = None if self.accumulate == 1 else self.accumulate
        return {key: value for key, value in found.items() if value is not None or key == "ema"}
