"""``fit``: train a model by a rule, with checkpoints, logs and a record."""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from holomorph._utils import progress
from holomorph._utils.io import write_atomically
from holomorph._utils.versions import versions
from holomorph.contract import gradients
from holomorph.contract.data import names_of_classes
from holomorph.contract.threats import ThreatLike
from holomorph.data import Splits
from holomorph.errors import ConfigError
from holomorph.records.training import TrainRecord
from holomorph.rules import Rule, as_rule
from holomorph.rules.base import RiskFunction
from holomorph.threats.constraints import FeatureThreat
from holomorph.training import checkpoint
from holomorph.training.batches import Training, make_batches
from holomorph.training.devices import one_device
from holomorph.training.folder import check_same, holding, noted
from holomorph.training.guard import make_guard
from holomorph.training.last_batch import batch_size_of
from holomorph.training.logs import loggers_of, write
from holomorph.training.loop import Loop
from holomorph.training.modes import training_modes
from holomorph.training.pause import Pause, naming_the_lost
from holomorph.training.receiving import receive_training
from holomorph.training.settings import MakeOptimizer, MakeScheduler, Settings
from holomorph.training.validation import Validation
from holomorph.training.weights import ClassWeight


@gradients()
def fit(
    model: nn.Module,
    train: Training,
    rule: Rule | str,
    *,
    threat: ThreatLike | None = None,
    epochs: int = 6,
    out: str | os.PathLike[str] | None = None,
    validation: Validation | None = None,
    batch_size: int = 64,
    lr: float = 4e-3,
    optimizer: str | Optimizer | MakeOptimizer = "adam",
    weight_decay: float = 0.0,
    ema: float | None = None,
    schedule: str | MakeScheduler = "one-cycle",
    accumulate: int = 1,
    clip: float | None = None,
    guard: bool = True,
    augment: bool | Callable[[Tensor], Tensor] = True,
    sample_weight: Any = None,
    class_weight: ClassWeight | None = None,
    risk_function: RiskFunction | None = None,
    seed: int = 0,
    steps_per_epoch: int | None = None,
    checkpoint_steps: int | None = None,
    checkpoint_minutes: float | None = None,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    fabric: Fabric | None = None,
) -> TrainRecord:
    """Train the model in place by the rule and return the record of the run.

    Parameters
    ----------
    model:
        Maps (batch, ...) in its box to logits (batch, K). Ends on the fabric's device, with averaged weights if
        ``ema`` is set, every layer in the mode in which it came. Layers in evaluation mode inside a model in training
        mode stay frozen; of a model wholly in evaluation mode everything is trained but normalising layers without a
        parameter to train.
    train:
        Tensors or arrays ``(x, y)``, ``Splits`` (their training part), a ``Dataset`` or a ``DataLoader``. Labels are
        class indices (samples,) or class probabilities (samples, classes). Samples alone serve a rule without labels.
    rule:
        What to minimise; see ``holomorph.rules``. As text, ``"finite"`` or ``"pgd(steps=5)"``, together with
    threat:
        for which it is made; a text such as ``"inf:8/255"``, too.
    out:
        Folder for checkpoints, logs, ``model.safetensors`` and ``train.json``; nothing is written without it.
    validation:
        Samples and labels, or a loader of them, whose accuracy is logged each epoch; those of ``Splits`` are used by
        themselves. Several processes share its batches.
    batch_size:
        Samples of one step, of all processes together: eight of them take 8 each of a batch of 64. The same holds for
        the batch size of a loader, unless a ``DistributedSampler`` of your own has sharded it.
    lr:
        Peak of the one-cycle schedule.
    optimizer:
        ``"adam"``, ``"adamw"`` or ``"sgd"``; or an optimizer of torch that holds the model's parameters, or a function
        that makes one of them, whose own learning rates are then the peaks of the schedule.
    weight_decay:
        Decay of the weights; biases and the scales of normalising layers, which have one dimension, are spared.
    ema:
        Decay of an exponential moving average of the weights, for instance 0.99.
    schedule:
        ``"one-cycle"``, ``"constant"``, or a function of the optimizer and the total number of steps that returns a
        scheduler of torch, for instance one with a warm-up of your own. It is stepped after every step.
    accumulate:
        Batches whose gradients are added up for one step; processes exchange them once a step.
    clip:
        The largest norm of the gradients of all parameters together.
    guard:
        After each epoch the alignment of the gradients and the robust accuracy on a few hundred validation samples
        are measured (ten steps of ascent) and logged. When they collapse (catastrophic overfitting), go back to the
        epoch before and double the rule's weight, or for ``finite`` its segments, up to three times. A rule without
        either, and any rule with ``guard=False``, gets a warning only. A run whose last epoch is more than two points
        less robust than its best one ends with the weights of that.
    augment:
        Whether the batches of ``Splits`` are changed as the data set asks: crops and mirror images of ``cifar10`` and
        of folders. A function of one sample, such as a transform of torchvision, is applied to each anew. Your own
        loader changes its batches itself.
    sample_weight, class_weight:
        How much each sample counts, and each class: a number a class, or ``"balanced"``. They are drawn so much more
        often, which serves every rule; a loader draws its own samples.
    risk_function:
        Your own risk for a rule as text, see :class:`~holomorph.rules.base.Rule`.
    steps_per_epoch:
        Batches that count as an epoch, for a stream that does not know its length.
    checkpoint_steps, checkpoint_minutes:
        How often a checkpoint is written within an epoch, too. In any case one is written at SIGTERM, by which
        clusters announce the end of a job; the run then stops with a TrainingError.
    resume:
        Go on from the last checkpoint in ``out``; the numbers are those of a run that was never stopped. Other
        settings, data or layers than those it was started with are refused.
    force:
        Replace an earlier run in ``out``; files of your own there are kept.
    device:
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; ``"auto"`` takes an accelerator if there is one.
    fabric:
        A launched ``lightning_fabric.Fabric`` for devices, precision and processes instead of ``device``.

    Raises
    ------
    DataError, ModelError, ConfigError
        Before anything is written, for data, models and settings that cannot be used, and for samples outside the
        box of the rule's threat.
    TrainingError
        If the loss stops being finite; the last good checkpoint is kept.

    Examples
    --------
    >>> import torch
    >>> from holomorph.rules import Plain
    >>> x = torch.rand(64, 2); y = (x[:, 0] > x[:, 1]).long()
    >>> record = fit(nn.Linear(2, 2), (x, y), Plain(), epochs=2)
    >>> record.rule, len(record.history)
    ('plain', 2)
    """
    settings = Settings(
        epochs=epochs, batch_size=batch_size, lr=lr, optimizer=optimizer, weight_decay=weight_decay, ema=ema, seed=seed,
        schedule=schedule, accumulate=accumulate, clip=clip,
    )  # fmt: skip
    fabric = fabric or one_device(device)
    box = train.box if isinstance(train, Splits) else (0.0, 1.0)
    rule = as_rule(rule, threat, box=box, risk_function=risk_function)
    batches = make_batches(
        train, batch_size, seed, fabric, augment=augment, steps=steps_per_epoch, labelled=rule.supervised,
        sample_weight=sample_weight, class_weight=class_weight,
    )  # fmt: skip
    given = receive_training(model, train, batches, rule, batch_size, validation)
    folder = Path(out) if out is not None else None
    with holding(folder, resume=resume, force=force) if folder and fabric.is_global_zero else nullcontext():
        loop = Loop(fabric, model, rule, batches, settings, folder / "checkpoints" if folder else None, given.only)
        loop.guard = make_guard(rule, given.watched, restore=guard, device=fabric.device)
        loop.pause = Pause(fabric, steps=checkpoint_steps, minutes=checkpoint_minutes, listen=folder is not None)
        return _trained(loop, train, given.validation, folder)


def _trained(loop: Loop, train: Training, validation: Validation | None, folder: Path | None) -> TrainRecord:
    """Run the loop to its end; the first process writes weights and record."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with training_modes(loop.module), loop.pause or nullcontext(), naming_the_lost(loop.fabric):
        run_loop(loop, validation, folder)
    loop.rule.settle()
    record = _record(loop, train, started, loop.finish())
    if folder is not None and loop.fabric.is_global_zero:
        checkpoint.save_tensors(folder / "model.safetensors", loop.given.state_dict())
        record.save(folder / "train.json")
    return record


def run_loop(loop: Loop, validation: Validation | None, folder: Path | None) -> None:
    """Bring a loop to its last epoch, from its newest checkpoint if there is one."""
    if loop.folder is not None:
        check_same_run(loop)
        newest = checkpoint.newest_whole(loop.folder)
        if newest is not None:
            loop.restore(newest)
        elif not loop.history:
            loop.save()
    loggers = loggers_of(folder, loop.history) if folder is not None and loop.fabric.is_global_zero else []
    epochs = loop.settings.epochs
    with progress.bar(f"training, {loop.rule.name}", total=epochs * len(loop.batches)) as bar:
        bar.advance(len(loop.history) * len(loop.batches) + loop.batch)
        while len(loop.history) < epochs:
            epoch = loop.run_epoch(validation, bar)
            loop.mend()
            loop.save()
            for logger in loggers:
                write(logger, epoch)
    for logger in loggers:
        logger.finalize("success")


def check_same_run(loop: Loop) -> None:
    """Note the settings beside the checkpoints, or refuse to resume a run that had other ones.

    Raises
    ------
    ConfigError
        For other settings, other training data or a network of other layers.
    """
    if loop.folder is None or not loop.fabric.is_global_zero:
        return
    settings = {**loop.settings.noted(), "rule": loop.rule.name, **loop.rule.settings()}
    settings |= {"training data": loop.batches.digest(), "layers": _layers(loop.given)}
    text = json.dumps(settings, sort_keys=True, indent=1)
    path = loop.folder / "settings.json"
    if not path.exists():
        write_atomically(path, text.encode())
        return
    before = noted(path)
    now: dict[str, Any] = json.loads(text)
    for key in ("training data", "layers"):
        was, found = before.pop(key, None), now.pop(key)  # runs of before have noted none
        if was not in (None, found):
            raise ConfigError(
                f"The run in {loop.folder.parent} was started with other {key}. "
                "Resume with the same, or give --force to start anew."
            )
    check_same(before, now, loop.folder.parent)


def _layers(module: nn.Module) -> str:
    """A digest of the network's structure; shapes are compared where weights are loaded."""
    names = [f"{name} {type(part).__name__}" for name, part in module.named_modules()]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _record(loop: Loop, train: Training, started: str, kept: int) -> TrainRecord:
    s, module, threat = loop.settings, loop.given, loop.rule.defends_against
    return TrainRecord(
        model=f"{type(module).__module__}.{type(module).__qualname__}",
        parameters=sum(p.numel() for p in module.parameters()), data=train.name if isinstance(train, Splits) else "",
        samples=loop.batches.samples, rule=loop.rule.name, rule_settings=loop.rule.settings(),
        threat=threat.plain() if isinstance(threat, FeatureThreat) else threat,
        features=threat.features.record() if isinstance(threat, FeatureThreat) else None,
        class_names=names_of_classes(train) if loop.rule.supervised else (), seed=s.seed, epochs=s.epochs,
        batch_size=batch_size_of(train, s.batch_size), optimizer=s.optimizer_name, lr=s.lr,
        weight_decay=s.weight_decay, ema=s.ema, history=tuple(loop.history), kept_epoch=kept,
        seconds=sum(epoch.seconds for epoch in loop.history), cost=loop.rule.cost.passes / 3 * loop.rule.replays,
        versions=versions("lightning-fabric", "numpy"), device=str(loop.fabric.device),
        processes=loop.fabric.world_size, command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]), started=started,
    )  # fmt: skip
