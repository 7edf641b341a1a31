"""``holomorph train``: a classifier trained by a rule and, beside it, its undefended baseline."""

from pathlib import Path
from typing import Annotated, Any

import typer
from lightning_fabric import Fabric

from holomorph._utils import progress
from holomorph._utils.interval import percent
from holomorph.cli import options
from holomorph.cli.common import either, say
from holomorph.data import Splits, load_data
from holomorph.errors import ConfigError
from holomorph.records.training import BaselineSummary, TrainRecord
from holomorph.rules import DEFAULT, Plain
from holomorph.threats import ThreatModel
from holomorph.training.devices import several_devices
from holomorph.training.fit import fit
from holomorph.training.folder import RunConfig, RunFolder, check_same, holding, nothing_left_of_a_refusal
from holomorph.training.settings import OPTIMIZERS, Settings

#: Epochs that bring the two known data sets to rest; small data needs more passes.
EPOCHS = {"digits": 40, "fashion-mnist": 6}

#: Options that say nothing about the run itself: given alone, all else is taken from the folder.
APART = {"out", "resume", "quiet", "n", "trust", "devices", "nodes"}


def train_command(
    context: typer.Context,
    data: options.DataName = "digits",
    rule: options.RuleText = DEFAULT,
    threat: options.OneThreat = "inf:0.1",
    features: options.FeaturesText = None,
    out: options.RunPath = Path("runs/first"),
    model: options.ModelName = "auto",
    activation: options.ActivationName = "gelu",
    epochs: options.Epochs = 0,
    batch_size: options.StepSize = 64,
    lr: options.LearningRate = 4e-3,
    optimizer: Annotated[str, typer.Option(help=f"{either(OPTIMIZERS)}.")] = "adam",
    weight_decay: Annotated[float, typer.Option(help="Weight decay.")] = 0.0,
    ema: options.Averaging = 0.0,
    guard: Annotated[
        bool, typer.Option(help="After catastrophic overfitting go back and double the weight (finite: its segments).")
    ] = True,
    baseline: options.WithBaseline = True,
    data_dir: options.DataDir = None,
    box: options.BoxOption = None,
    devices: Annotated[int, typer.Option(help="Processes on each machine, one a device.", min=1)] = 1,
    nodes: Annotated[int, typer.Option(help="Machines, on each of which the command is started.", min=1)] = 1,
    seed: options.Seed = 0,
    force: options.Force = False,
    resume: options.Resume = False,
    trust: options.Trust = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a classifier by a rule, and an undefended baseline of the same shape."""
    settings = {"epochs": epochs or EPOCHS.get(data, 20), "batch_size": batch_size, "lr": lr, "optimizer": optimizer,
                "weight_decay": weight_decay, "ema": ema or None, "guard": guard}  # fmt: skip
    before = _begun(out) if resume else None
    if before is not None and _given(context) <= APART:
        splits, config = before.load_data(), before
    else:
        if features is not None and "threat" not in _given(context):
            threat = "inf:1"  # each feature by its own eps
        splits, config = _plan(data, data_dir, box, rule, threat, features, model, activation, settings, seed, baseline)
    if before is not None:
        noted = before.asked  # what an older version did not know is not compared
        check_same(noted, {key: config.asked.get(key) for key in noted}, out)
    fabric = None if devices * nodes == 1 else several_devices(devices, nodes)
    _train_in(out, splits, config, trust or model, fabric, resume=resume, force=force, shown=not quiet)


def _train_in(
    out: Path, splits: Splits, config: RunConfig, trusted: str | bool, fabric: Fabric | None, *, resume: bool,
    force: bool, shown: bool,
) -> None:  # fmt: skip
    """Train in a folder, which the first process holds, begins and writes, and say how it ended."""
    if fabric is not None and not fabric.is_global_zero:
        _train_both(RunFolder(out), splits, config, trusted, fabric)
        return
    with holding(out, resume=resume, force=force), progress.shown(enabled=shown), nothing_left_of_a_refusal(out):
        if not (resume and _begun(out)):
            config.save(out / "config.json")
        record = _train_both(RunFolder(out), splits, config, trusted, fabric)
    say(_summary(config, record))


def _summary(config: RunConfig, record: TrainRecord) -> str:
    """One sentence on what the run ended with: accuracy on validation samples, and under a short attack."""
    kept = record.history[(record.kept_epoch or len(record.history)) - 1]
    if kept.validation_accuracy is None:
        accuracy = "accuracy unknown"
    else:
        accuracy = f"{percent(kept.validation_accuracy)} of the validation samples predicted correctly"
    robust = "" if kept.robust_accuracy is None else f", {percent(kept.robust_accuracy)} under ten steps of PGD"
    earlier = "" if kept is record.history[-1] else f" The weights are those of epoch {kept.number}, the most robust."
    return f"Trained {config.model} by {config.rule} in {record.seconds:.0f} s: {accuracy}{robust}.{earlier}"


def _begun(out: Path) -> RunConfig | None:
    """What the run in the folder was asked to do; None if nothing began there."""
    return RunFolder.open(out).config if (out / "config.json").is_file() else None


def _given(context: typer.Context) -> set[str]:
    """Names of the options on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def _plan(
    name: str,
    data_dir: Path | None,
    box: tuple[float, float] | None,
    rule: str,
    threat: str,
    features: str | None,
    model: str,
    activation: str,
    settings: dict[str, Any],
    seed: int,
    baseline: bool,
) -> tuple[Splits, RunConfig]:
    """Check everything that was asked for before a single file is written."""
    if features is not None and name.partition(":")[0] in ("csv", "parquet"):  # columns keep the unit that eps is in
        name += ("&" if "?" in name else "?") + "scale=no"
    splits = load_data(name, data_dir=data_dir, box=box)
    varied = None if features is None else splits.features_of(features)
    if box is None and name.startswith("npz:"):
        say(f"The inputs' box is taken from the data: [{splits.box[0]:g}, {splits.box[1]:g}].")
    if model == "auto":
        model = "cnn" if len(splits.shape) == 3 else "mlp"
    config = RunConfig(
        data=name, data_dir=str(data_dir) if data_dir else None, model=model, activation=activation,
        shape=tuple(splits.shape), classes=splits.classes, rule=rule,
        threat=ThreatModel.parse(threat, splits.box if varied is None else varied.hull),
        features=None if varied is None else varied.record(), training=settings, seed=seed, baseline=baseline,
    )  # fmt: skip
    config.build_rule()
    if not getattr(config.build_model(trusted=model), "differentiable", True):
        raise ConfigError(f"{model} gives no gradients and cannot be trained. Give the network as *.pt2 or as code.")
    Settings(**{key: value for key, value in settings.items() if key != "guard"})
    return splits, config


def _train_both(
    folder: RunFolder, splits: Splits, config: RunConfig, trusted: str | bool, fabric: Fabric | None
) -> TrainRecord:
    first = fabric is None or fabric.is_global_zero
    record = fit(config.build_model(trusted=trusted), splits, config.build_rule(), out=folder.path, resume=True,
                 seed=config.seed, fabric=fabric, **config.training)  # fmt: skip
    if config.baseline:
        baseline_path = folder.path / "baseline"
        plain = fit(config.build_model(trusted=trusted), splits, Plain(seed=config.seed), out=baseline_path,
                    resume=True, seed=config.seed, fabric=fabric, **{**config.training, "guard": False})  # fmt: skip
        if first:
            (baseline_path / "model.safetensors").replace(folder.path / "baseline.safetensors")
        record = record.model_copy(
            update={
                "baseline": BaselineSummary(history=plain.history, seconds=plain.seconds),
                "measured_cost": record.seconds / plain.seconds,
            }
        )
    record = record.model_copy(update={"model": config.model, "model_settings": {"activation": config.activation}})
    if first:
        record.save(folder.path / "train.json")
    return record
