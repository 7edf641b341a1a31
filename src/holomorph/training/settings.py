"""How to train: everything but the model, the data and the rule that changes the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from holomorph.contract.settings import check_seed
from holomorph.errors import ConfigError, unknown_name

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; a value outside its domain is refused with a ConfigError."""

    epochs: int = 6
    batch_size: int = 64
    lr: float = 4e-3
    optimizer: str = "adam"
    weight_decay: float = 0.0
    ema: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZERS)
        for name, value in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1.")
        if not 0 < self.lr < math.inf:
            raise ConfigError(f"The learning rate is {self.lr}; it must be positive.")
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight_decay is {self.weight_decay}; it must be 0 or more, and finite.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"ema is {self.ema}; the decay of the averaged weights must lie between 0 and 1.")
