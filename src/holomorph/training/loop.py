"""The loop itself: one optimizer, one schedule, one rule; epochs that can be saved and taken up again."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from holomorph._utils import progress
from holomorph._utils.seeding import seed_for
from holomorph.contract.model import Guest, evaluating
from holomorph.errors import ConfigError, TrainingError
from holomorph.records.training import Epoch
from holomorph.rules.base import Rule
from holomorph.training import checkpoint
from holomorph.training.batches import Batches
from holomorph.training.guard import Guard
from holomorph.training.settings import OPTIMIZERS, Settings

#: What a run needs to go on: tensors by name, and what JSON can hold.
State = tuple[dict[str, Tensor], dict[str, Any]]

#: From which loss of robust accuracy on a run ends with the weights of its best epoch instead of its last.
WORSE = 0.02


@dataclass(frozen=True)
class Best:
    """The most robust epoch so far, with the weights that the run would have ended with there."""

    robust: float = -1.0
    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class Mixed(nn.Module):
    """A module in mixed precision that a rule may differentiate by its input: Fabric's own wrapper forbids that."""

    def __init__(self, module: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.module, self.autocast = module, fabric.autocast

    def forward(self, x: Tensor) -> Tensor:
        """Low precision inside, the input's outside."""
        with self.autocast():
            return self.module(x).to(x.dtype)


class Measured(nn.Module):
    """A module in the fabric's precision that takes and gives tensors in the precision of the data."""

    def __init__(self, module: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.module, self.convert = module, fabric.strategy.precision.convert_input

    def forward(self, x: Tensor) -> Tensor:
        """Convert inside; in single precision nothing is converted."""
        outputs: Tensor = self.module(self.convert(x))
        return outputs.to(x.dtype)


def is_mixed(fabric: Fabric) -> bool:
    """Whether the fabric computes in mixed precision; refused with several devices."""
    if "mixed" not in str(fabric.strategy.precision.precision):
        return False
    if fabric.world_size > 1:
        raise ConfigError("Mixed precision works on one device only. Use precision 32-true or bf16-true with several.")
    return True


@dataclass
class Loop:
    """The state of a training run between two epochs.

    Attributes
    ----------
    module:
        The user's module.
    model:
        The same module with the fabric's precision and the exchange of gradients between processes.
    averaged:
        The moving average of the weights, if one is kept.
    history:
        The epochs done.
    guard:
        What watches the network after each epoch, if the rule has a threat.
    """

    fabric: Fabric
    module: nn.Module
    rule: Rule
    batches: Batches
    settings: Settings
    folder: Path | None = None
    history: list[Epoch] = field(default_factory=list)
    guard: Guard | None = None

    def __post_init__(self) -> None:
        s = self.settings
        trained = [p for p in self.module.parameters() if p.requires_grad]
        if not trained:
            raise ConfigError("The model has no parameter to train. Unfreeze some with requires_grad_(True).")
        extra = {"momentum": 0.9} if s.optimizer == "sgd" else {}
        optimizer = OPTIMIZERS[s.optimizer](trained, lr=s.lr, weight_decay=s.weight_decay, **extra)
        self.total = max(2, s.epochs * len(self.batches) * self.rule.replays)
        self.scheduler = OneCycleLR(optimizer, max_lr=s.lr, total_steps=self.total + 1)
        self.optimizer: Any
        wrapped, self.optimizer = self.fabric.setup(self.module, optimizer)
        self.model: nn.Module = Mixed(self.module, self.fabric) if is_mixed(self.fabric) else wrapped
        self._before: State | None = None
        self.best = Best()
        self.averaged: AveragedModel | None = None
        if s.ema is not None:
            average = get_ema_multi_avg_fn(s.ema)  # type: ignore[no-untyped-call]
            self.averaged = AveragedModel(self.module, multi_avg_fn=average, use_buffers=True)

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.scheduler.last_epoch)

    def run_epoch(self, validation: tuple[Tensor, Tensor] | None, bar: progress.Bar) -> Epoch:
        """Train for one more epoch, then measure the validation accuracy."""
        number = len(self.history) + 1
        start = time.perf_counter()
        with self._own_randomness(number):
            loss, measured = self._train(number, bar)
        seconds = time.perf_counter() - start
        if self.guard is not None:
            measured |= self.guard.measure(self._measured(self.ending))
        accuracy = self.accuracy(*validation, self.settings.batch_size) if validation else None
        epoch = Epoch(
            number=number,
            loss=loss,
            lr=float(self.scheduler.get_last_lr()[0]),
            seconds=seconds,
            validation_accuracy=accuracy,
            robust_accuracy=measured.pop("robust_accuracy", None),
            measured=measured,
        )
        self.history.append(epoch)
        return epoch

    @property
    def ending(self) -> nn.Module:
        """The module that the run would end with now."""
        return self.averaged.module if self.averaged is not None else self.module

    def _train(self, number: int, bar: progress.Bar) -> tuple[float, dict[str, float]]:
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        for x, y in self.batches.epoch(number):
            for _ in range(self.rule.replays):
                seen = {"loss": self._update(x, y), **self.rule.measured}
                for key, value in seen.items():
                    sums[key] = sums.get(key, torch.zeros(())) + value.detach().float()
                    counts[key] = counts.get(key, 0) + 1
            bar.advance()
        means = {key: float(value) / counts[key] for key, value in sums.items()}
        return means.pop("loss"), means

    def _update(self, x: Tensor, y: Tensor) -> Tensor:
        self.rule.progress = self.step / self.total
        self.rule.measured = {}
        loss = self.rule(self.model, x, y)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss.item()} at step {self.step} (learning rate "
                f"{self.scheduler.get_last_lr()[0]:.3g}). Lower the learning rate or the rule's weight."
                + self._last_good()
            )
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        self.scheduler.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.module)
        return loss

    def _last_good(self) -> str:
        kept = checkpoint.latest(self.folder) if self.folder is not None else None
        return f" The last good checkpoint is {kept}." if kept else ""

    @contextmanager
    def _own_randomness(self, number: int) -> Iterator[None]:
        """Seed the global stream, which dropout draws from, for this epoch; the caller's own is left as it was."""
        with torch.random.fork_rng():
            torch.manual_seed(seed_for(self.settings.seed, f"noise/{number}/{self.fabric.global_rank}"))
            if self.fabric.world_size > 1:
                self.rule.reseed(seed_for(self.rule.seed, f"rule/{number}/{self.fabric.global_rank}"))
            yield

    def accuracy(self, x: Tensor, y: Tensor, batch_size: int) -> float:
        """Share of correct predictions of the model that the run would end with now."""
        model = self._measured(self.ending)
        right = 0
        with evaluating(Guest(model)) as guest, torch.no_grad():
            for inputs, labels in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True):
                predictions = guest(self.fabric.to_device(inputs)).argmax(1)
                right += int((predictions == self.fabric.to_device(labels)).sum())
        return right / len(y)

    def _measured(self, module: nn.Module) -> nn.Module:
        return module if isinstance(self.model, Mixed) else Measured(module, self.fabric)

    def state(self) -> State:
        """Everything that the run needs to go on from here."""
        state, groups = checkpoint.flatten_optimizer(self.optimizer.optimizer)
        tensors = {f"model.{key}": value for key, value in self.module.state_dict().items()}
        tensors |= {f"optimizer.{key}": value for key, value in state.items()}
        if self.averaged is not None:
            tensors |= {f"ema.{key}": value for key, value in self.averaged.state_dict().items()}
        rest = {
            "epoch": len(self.history),
            "groups": groups,
            "scheduler": {k: v for k, v in self.scheduler.state_dict().items() if not callable(v)},
            "rule": self.rule.state_dict(),
            "history": [epoch.model_dump() for epoch in self.history],
        }
        return tensors, rest

    def save(self) -> None:
        """Keep this moment: in a checkpoint, of which two are left on the disk, and in memory for the guard."""
        self._keep_best()
        if self.guard is not None and self.guard.restore and self.rule.can_strengthen:
            self._before = copy.deepcopy(self.state())
        if self.folder is None or not self.fabric.is_global_zero:
            return
        checkpoint.save_checkpoint(self.folder, f"epoch-{len(self.history):04d}", *self.state())
        checkpoint.prune(self.folder)

    def _keep_best(self) -> None:
        """Keep the weights of the epoch with the largest robust accuracy so far."""
        found = self.history[-1].robust_accuracy if self.history else None
        if found is None or self.guard is None or found < max(self.best.robust, self.guard.chance + WORSE):
            return
        weights = {key: value.detach().cpu().clone() for key, value in self.ending.state_dict().items()}
        self.best = Best(found, len(self.history), weights)
        if self.folder is not None and self.fabric.is_global_zero:
            checkpoint.save_checkpoint(self.folder, "best", weights, {"robust": found, "epoch": len(self.history)})

    def finish(self) -> int:
        """Give the module the weights that the run ends with, and return their epoch.

        Those of the last epoch, unless another one was clearly more robust: by more than two points. An epoch that was
        no better than a constant prediction is never chosen.
        """
        last = self.history[-1].robust_accuracy
        if last is not None and self.best.robust - last > WORSE:
            self.module.load_state_dict(self.best.weights)
            return self.best.epoch
        if self.averaged is not None:
            self.module.load_state_dict(self.averaged.module.state_dict())
        return len(self.history)

    def mend(self) -> None:
        """After a collapse warn, or go back to the epoch before with twice the weight."""
        if self.guard is None:
            return
        self.guard.remark(self.history)
        if not self.guard.collapsed(self.history):
            return
        if self.guard.react(self.history, self.rule) and self._before is not None:
            self._load(*self._before, "the epoch before")
            self.fabric.barrier()  # the first process is about to write it anew
            self.rule.strengthen()

    def restore(self, path: Path) -> None:
        """Take up the run where a checkpoint left it."""
        self._load(*checkpoint.load_checkpoint(path), str(path))
        best = path.with_name("best.json")
        if best.exists():
            weights, found = checkpoint.load_checkpoint(best)
            self.best = Best(found["robust"], found["epoch"], weights)

    def _load(self, tensors: dict[str, Tensor], state: dict[str, Any], origin: str) -> None:
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "ema": {}}
        for name, value in tensors.items():
            part, _, key = name.partition(".")
            parts[part][key] = value
        checkpoint.load_into(self.module, parts["model"], origin)
        checkpoint.restore_optimizer(self.optimizer.optimizer, parts["optimizer"], state["groups"])
        if self.averaged is not None:
            checkpoint.load_into(self.averaged, parts["ema"], origin)
        self.scheduler.load_state_dict(state["scheduler"])
        self.rule.load_state_dict(state["rule"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        if self.guard is not None and self.guard.restore and self.rule.can_strengthen:
            self._before = copy.deepcopy((tensors, state))
