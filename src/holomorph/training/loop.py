"""The loop itself: one optimizer, one schedule, one rule; a run that can be saved after any step and taken up again."""

import copy
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from holomorph._utils import progress
from holomorph._utils.seeding import random_states, replaying, seed_for
from holomorph.contract.compiled import as_written
from holomorph.contract.model import FixedBatch
from holomorph.errors import ConfigError, StoppedError
from holomorph.records.training import Epoch
from holomorph.rules.base import Rule
from holomorph.training import checkpoint
from holomorph.training.batches import Batches
from holomorph.training.course import Course
from holomorph.training.guard import WORSE, Best, Guard
from holomorph.training.pause import Pause
from holomorph.training.precision import Measured, Mixed, for_rules
from holomorph.training.settings import Settings
from holomorph.training.sharded import apart, averaged, is_sharing, set_up, together, whole
from holomorph.training.shares import Shares, Whole, read_checkpoint
from holomorph.training.statistics import join_statistics
from holomorph.training.validation import Validation, accuracy

#: What a run needs to go on: tensors by name, and what JSON can hold.
State = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass
class Loop:
    """The state of a training run between two steps.

    Attributes
    ----------
    module:
        The user's module, or where weights are shared out a copy of it; ``given`` is the user's.
    model:
        The same module with the fabric's precision and the exchange of gradients between processes.
    averaged:
        The moving average of the weights, if one is kept.
    only:
        The one number of samples that the module takes at once, if it is such.
    history:
        The epochs done.
    batch, step:
        Batches done in this epoch, and optimizer steps in all.
    guard:
        What watches the network after each epoch, if the rule has a threat.
    pause:
        When checkpoints are written within an epoch.
    """

    fabric: Fabric
    module: nn.Module
    rule: Rule
    batches: Batches
    settings: Settings
    folder: Path | None = None
    only: int | None = None
    history: list[Epoch] = field(default_factory=list)
    guard: Guard | None = None
    pause: Pause | None = None

    def __post_init__(self) -> None:
        s = self.settings
        if not any(p.requires_grad for p in self.module.parameters()):
            raise ConfigError("The model has no parameter to train. Unfreeze some with requires_grad_(True).")
        self.batch = self.step = 0
        self.course = Course()
        self.total = max(2, s.epochs * -(-len(self.batches) * self.rule.replays // s.accumulate))
        self.writer = (Shares if is_sharing(self.fabric) else Whole)(self.fabric)
        self._before: State | None = None
        self.best = Best()
        self.given, self.module = self.module, apart(self.module, self.fabric)
        # Fabric takes a compiled module apart to compile it again, and cannot where it did not see it compiled.
        callee = nn.Sequential(self.module) if as_written(self.module) is not self.module else self.module
        self.wrapped: Any = set_up(callee, self.fabric)
        optimizer = s.make_optimizer([p for p in self.module.parameters() if p.requires_grad])  # of what is held here
        self.scheduler = s.make_scheduler(optimizer, self.total)
        self.optimizer: Any = self.fabric.setup_optimizers(optimizer)
        self.model = for_rules(self.module, self.wrapped, self.fabric)
        self.averaged = averaged(self.given, self.fabric, s.ema) if s.ema is not None else None

    def run_epoch(self, validation: Validation | None, bar: progress.Bar) -> Epoch:
        """Train to the end of the epoch, then measure the validation accuracy."""
        with replaying(random_states(self.fabric.device), self.fabric.device):  # the caller's streams are left alone
            self._train(len(self.history) + 1, bar)
        join_statistics(self.fabric, self.module, self.averaged)
        loss, measured = self.course.means(self.fabric)
        if self.guard is not None:
            with together(self.ending):
                measured |= self.fabric.broadcast(self.guard.measure(self._measured(self.ending)))
        epoch = Epoch(
            number=len(self.history) + 1,
            loss=loss,
            lr=float(self.scheduler.get_last_lr()[0]),
            seconds=self.course.seconds,
            validation_accuracy=self.accuracy(validation) if validation is not None else None,
            robust_accuracy=measured.pop("robust_accuracy", None),
            measured=measured,
        )
        self.history.append(epoch)
        self.batch, self.course = 0, Course()
        return epoch

    @property
    def ending(self) -> nn.Module:
        """The module that the run would end with now."""
        return self.averaged.module if self.averaged is not None else self.module

    def _train(self, number: int, bar: progress.Bar) -> None:
        start, before = time.perf_counter(), self.course.seconds
        count, micro = self.settings.accumulate, self.batch * self.rule.replays
        last = len(self.batches) * self.rule.replays
        self.optimizer.zero_grad()
        for x, y in self.batches.epoch(number, self.batch):
            for _ in range(self.rule.replays):
                self._seed(f"{number}/{micro}")
                micro += 1
                self._update(x, y, ends=micro % count == 0 or micro == last)
            self.batch += 1
            bar.advance()
            self.course.seconds = before + time.perf_counter() - start
            if micro % count == 0 and self.pause is not None and self.pause.due(self.step):
                self._stop_or_go_on()
        self.course.check(self._last_good)

    def _update(self, x: Tensor, y: Tensor, *, ends: bool) -> None:
        """One batch; ``ends`` says that the optimizer takes its step now."""
        self.rule.progress = min(1.0, self.step / self.total)
        self.rule.measured = {}
        with self._exchange(ends), together(self.wrapped):
            loss = self.rule(self.model, x, y)
            self.course.see(loss, self.rule.measured, self.step, self.scheduler, self._last_good)
            self.fabric.backward(loss / self.settings.accumulate)
        if not ends:
            return
        if self.settings.clip is not None:
            self.fabric.clip_gradients(
                self.wrapped, self.optimizer, max_norm=self.settings.clip, error_if_nonfinite=False
            )
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        scale = scaler.get_scale() if scaler is not None else 0.0
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        if scaler is None or scaler.get_scale() >= scale:  # else the scaled loss overflowed, and no step was taken
            self.scheduler.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.module)

    def _exchange(self, ends: bool) -> AbstractContextManager[Any]:
        """Between two steps of the optimizer processes need not exchange their gradients."""
        if ends or self.fabric.world_size == 1:
            return nullcontext()
        return self.fabric.no_backward_sync(self.wrapped)

    def _seed(self, moment: str) -> None:
        """Let dropout and the rule draw by seed, moment and process alone: a run taken up draws what it would have."""
        moment = f"{moment}/{self.fabric.global_rank}"
        torch.manual_seed(seed_for(self.settings.seed, f"noise/{moment}"))
        self.rule.reseed(seed_for(self.rule.seed, f"rule/{moment}"))

    def _stop_or_go_on(self) -> None:
        """Write a checkpoint within the epoch; end the run if it was told to stop.

        Raises
        ------
        TrainingError
            When it was told to.
        """
        self.course.check(self._last_good)
        self.save()
        if self.pause is not None and self.pause.told:
            self.writer.settle()
            raise StoppedError(
                f"The training was told to stop at step {self.step}. It goes on from there with resume=True (--resume)."
            )

    def _last_good(self) -> str:
        kept = checkpoint.latest(self.folder) if self.folder is not None else None
        return f" The last good checkpoint is {kept}." if kept else ""

    def accuracy(self, validation: Validation) -> float:
        """Share of correct predictions of the model that the run would end with now."""
        with together(self.ending):
            return accuracy(self._measured(self.ending), validation, self.settings.batch_size, self.fabric)

    def _measured(self, module: nn.Module) -> nn.Module:
        measured = Mixed(module, self.fabric) if isinstance(self.model, Mixed) else Measured(module, self.fabric)
        return measured if self.only is None else FixedBatch(measured, self.only)

    def state(self) -> State:
        """Everything that the run needs to go on from here; all processes ask together."""
        join_statistics(self.fabric, self.module, self.averaged)
        rules = checkpoint.gathered(self.rule.state_dict(), self.fabric)
        state, groups = checkpoint.flatten_optimizer(self.optimizer.optimizer)
        tensors = {f"model.{key}": value for key, value in self.module.state_dict().items()}
        tensors |= {f"optimizer.{key}": value for key, value in state.items()}
        if self.averaged is not None:
            tensors |= {f"ema.{key}": value for key, value in self.averaged.state_dict().items()}
        rest = {
            "epoch": len(self.history),
            "batch": self.batch,
            "step": self.step,
            "groups": groups,
            "scheduler": {k: v for k, v in self.scheduler.state_dict().items() if not callable(v)},
            "precision": self.fabric.strategy.precision.state_dict(),
            "rules": checkpoint.without_tensors(rules, "rules", tensors),
            "course": checkpoint.without_tensors(self.course.state_dict(), "course", tensors),
            "history": [epoch.model_dump() for epoch in self.history],
        }
        return tensors, rest

    def save(self) -> None:
        """Keep this moment: in a checkpoint, of which two are left on the disk, and in memory for the guard."""
        mends = self.guard is not None and self.guard.restore and self.rule.can_strengthen
        if self.folder is None and not mends:
            self._keep_best()
            return
        tensors, rest = self.state()
        if self.batch == 0:
            self._keep_best()
            self._before = copy.deepcopy((tensors, rest)) if mends else None
        if self.folder is not None:
            name = checkpoint.name(len(self.history), self.batch)
            self.writer.save(self.folder / f"{name}.json", tensors, rest)

    def _keep_best(self) -> None:
        """Keep the weights of the epoch with the largest robust accuracy so far."""
        found = self.history[-1].robust_accuracy if self.history else None
        if found is None or self.guard is None or found < max(self.best.robust, self.guard.chance + WORSE):
            return
        weights = whole(self.ending.state_dict())
        self.best = Best(found, len(self.history), weights)
        if self.folder is not None and self.fabric.is_global_zero:
            checkpoint.save_checkpoint(self.folder, "best", weights, {"robust": found, "epoch": len(self.history)})

    def finish(self) -> int:
        """Give the module the weights that the run ends with, and return their epoch.

        Those of the last epoch, unless another one was clearly more robust: by more than two points. An epoch that was
        no better than a constant prediction is never chosen.
        """
        self.writer.settle()
        last = self.history[-1].robust_accuracy
        weights, kept_epoch = self.ending.state_dict(), len(self.history)
        if last is not None and self.best.robust - last > WORSE:
            weights, kept_epoch = self.best.weights, self.best.epoch
        elif self.ending is self.given:
            return kept_epoch
        self.given.to(self.fabric.device).load_state_dict(whole(weights))
        return kept_epoch

    def mend(self) -> None:
        """After a collapse warn, or go back to the epoch before with twice the weight."""
        if self.guard is not None:
            self.guard.remark(self.history)
        if self.guard is None or not self.guard.collapsed(self.history):
            return
        if self.guard.react(self.history, self.rule) and self._before is not None:
            self._load(*self._before, "the epoch before")
            self.fabric.barrier()  # the first process is about to write it anew
            self.rule.strengthen()

    def restore(self, path: Path) -> None:
        """Take up the run where a checkpoint left it."""
        trained = {f"optimizer.{n}": p for n, p in enumerate(checkpoint.optimized(self.optimizer.optimizer))}
        self._load(*read_checkpoint(path, lambda: self.state()[0] | trained), str(path))
        if (best := path.with_name("best.json")).exists():
            weights, found = checkpoint.load_checkpoint(best)
            self.best = Best(found["robust"], found["epoch"], weights)

    def _load(self, tensors: dict[str, Tensor], state: dict[str, Any], origin: str) -> None:
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "ema": {}, "rules": {}, "course": {}}
        for name, value in tensors.items():
            part, _, key = name.partition(".")
            parts[part][key] = value
        checkpoint.load_into(self.module, parts["model"], origin)
        checkpoint.restore_optimizer(self.optimizer.optimizer, parts["optimizer"], state["groups"])
        if self.averaged is not None:
            checkpoint.load_into(self.averaged, parts["ema"], origin)
        self.scheduler.load_state_dict(state["scheduler"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        rules = checkpoint.with_tensors(state["rules"], tensors)
        self.rule.resume(rules, self.fabric.global_rank, self.fabric.world_size)
        self.course = Course(**checkpoint.with_tensors(state["course"], tensors))
        self.batch, self.step = state["batch"], state["step"]
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        if self.batch == 0 and self.guard is not None and self.guard.restore and self.rule.can_strengthen:
            self._before = copy.deepcopy((tensors, state))
