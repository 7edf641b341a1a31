"""``holomorph evaluate``: attack a run, or any model, and check the attacks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from torch import nn

from holomorph._utils import progress
from holomorph._utils.io import write_atomically
from holomorph.cli.common import (
    BatchSize,
    BoxOption,
    DataDir,
    DataName,
    Force,
    ModelOrRun,
    OutFolder,
    Quiet,
    Resume,
    RunThreats,
    Seed,
    Trust,
    WeightsFile,
    check_output,
    evaluation_file,
    parse_box,
    say,
)
from holomorph.cli.summary import evaluation_lines
from holomorph.data import Splits, load_data
from holomorph.errors import ConfigError
from holomorph.records.evaluation import EvaluationRecord
from holomorph.records.training import TrainRecord
from holomorph.threats import ThreatModel

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def evaluate_command(
    model: ModelOrRun,
    threat: RunThreats = None,
    weights: WeightsFile = None,
    baseline: Annotated[Path | None, typer.Option(help="Weights of an undefended model of the same kind.")] = None,
    data: DataName = "",
    data_dir: DataDir = None,
    box: BoxOption = None,
    n: Annotated[int, typer.Option("--n", help="Test samples to attack.", min=1)] = 1000,
    batch_size: BatchSize = 250,
    quick: Annotated[bool, typer.Option("--quick", help="An upper bound in about a minute.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="More starts, and the boundary attack.")] = False,
    decide: Annotated[
        float | None, typer.Option(help="Stop once robust accuracy is above or below this share.")
    ] = None,
    precision: Annotated[float | None, typer.Option(help="Stop once it is known to so many points, such as 2.")] = None,
    prove: Annotated[float, typer.Option(help="Seconds for proofs (10 at most with --quick); 0: none.", min=0)] = 60.0,
    features: Annotated[
        Path | None, typer.Option(help="npz with eps, low, high of each feature; the threat counts in these eps.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="Another run, or evaluation.json, on the same samples.")] = None,
    devices: Annotated[int, typer.Option(help="Processes that share the batches.", min=1)] = 1,
    accelerator: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 3 when a check fails.")] = False,
    out: OutFolder = None,
    robustbench: Annotated[Path | None, typer.Option(help="Also write the fields RobustBench asks for.")] = None,
    force: Force = False,
    resume: Resume = False,
    trust: Trust = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Attack a model with everything there is, count the worst case, and check the attacks themselves."""
    folder = out or (Path(model) if Path(model).is_dir() else Path("evaluation"))
    check_output(folder)
    if robustbench is not None:
        check_output(robustbench, "--robustbench", folder=False)
        if robustbench.exists() and not force:
            raise ConfigError(f"--robustbench {robustbench} exists. Name another file, or give --force to replace it.")
    against = None if against is None else evaluation_file(against)
    named = Named(model, weights, baseline, data, data_dir, box, trust)
    asked = EvaluationRequest(named, threat, features, folder, n, batch_size, seed, quick, thorough, resume, force,
                              shown=not quiet, decide=decide, precision=precision, prove=prove)  # fmt: skip
    found, other = asked.named.find(), EvaluationRecord.load(against) if against else None
    if devices > 1 or accelerator != "cpu":
        from holomorph.evaluation.processes import share

        share(run_evaluation, asked, devices=devices, accelerator=accelerator)
    else:
        run_evaluation(None, asked, found)
    target = folder / "evaluation.json"
    record = EvaluationRecord.load(target)
    if other is not None:
        from holomorph.evaluation.paired import versus

        record = record.model_copy(update={"differences": record.differences + versus(record, other)}).sealed()
        record.save(target)
    if out is None and Path(model).is_dir() and features is None:
        _diagnose(found, Path(model), seed)
    if robustbench is not None:
        from holomorph.evaluation.robustbench import robustbench as fields_of

        write_atomically(robustbench, (json.dumps(fields_of(record), indent=1) + "\n").encode())
    for line in evaluation_lines(record, len(found.splits.y_test), n):
        say(line)
    if strict and record.failed:
        raise typer.Exit(3)


@dataclass(frozen=True)
class EvaluationRequest:
    """What the command was asked to do; it travels to the processes that do it."""

    named: Named
    threat: str | None
    features: Path | None
    folder: Path
    n: int
    batch_size: int
    seed: int
    quick: bool
    thorough: bool
    resume: bool
    force: bool
    shown: bool
    decide: float | None = None
    precision: float | None = None
    prove: float = 60.0


def run_evaluation(fabric: Fabric | None, asked: EvaluationRequest, found: LoadedModel | None = None) -> None:
    """Evaluate on the first n test samples, or all there are; the first process writes the record."""
    from holomorph.evaluation.evaluate import evaluate
    from holomorph.threats.features import Features

    found = found or asked.named.find()
    first, (x, y) = fabric is None or fabric.global_rank == 0, found.splits.part("test")
    features = Features.load(asked.features) if asked.features else None
    box = found.splits.box if features is None else features.hull
    default = found.threats if features is None else [ThreatModel("inf", 1, box)]
    move = nn.Module.cpu if fabric is None else fabric.to_device
    with progress.shown(enabled=asked.shown and first):
        evaluate(
            move(found.model),
            x,
            y,
            ThreatModel.parse_many(asked.threat, box) if asked.threat else default,
            quick=asked.quick,
            thorough=asked.thorough,
            decide=asked.decide,
            precision=asked.precision,
            prove=asked.prove,
            baseline=None if found.baseline is None else move(found.baseline),
            features=features,
            seed=asked.seed,
            n=min(asked.n, len(y)),
            batch_size=asked.batch_size,
            out=asked.folder,
            resume=asked.resume,
            force=asked.force,
            fabric=fabric,
            model_name=found.name,
            data_name=found.splits.name,
            class_names=found.splits.names,
            training_cost=found.training_cost,
            source=found.source,
        )


#: Samples whose gradients go into the report's histogram; more would not change the picture.
DIAGNOSED = 500


def _diagnose(found: LoadedModel, folder: Path, seed: int) -> None:
    """Measure the input gradients of a run's model beside its baseline's, for the report."""
    from holomorph.explanation.energy_profile import diagnose

    x, y = (part[:DIAGNOSED] for part in found.splits.part("test"))
    record = diagnose(found.model, x, y, threat=found.threats[0], baseline=found.baseline, seed=seed)
    record.save(folder / "diagnostics.json")


@dataclass(frozen=True)
class Named:
    """How a command's arguments name a model with its data."""

    model: str
    weights: Path | None = None
    baseline: Path | None = None
    data: str = ""
    data_dir: Path | None = None
    box: tuple[float, float] | None = None
    trust: bool = False

    def find(self) -> LoadedModel:
        """Load them."""
        return find(self.model, weights=self.weights, baseline=self.baseline, data=self.data, data_dir=self.data_dir,
                    box=self.box, trust=self.trust)  # fmt: skip


@dataclass(frozen=True)
class LoadedModel:
    """A model with its data, however it was named."""

    name: str
    model: nn.Module
    baseline: nn.Module | None
    splits: Splits
    threats: list[ThreatModel]
    training_cost: float | None
    source: dict[str, str]


def find(
    model: str,
    *,
    weights: Path | None = None,
    baseline: Path | None = None,
    data: str = "",
    data_dir: Path | None = None,
    box: tuple[float, float] | None = None,
    trust: bool = False,
) -> LoadedModel:
    """Find what a command's first argument names: a run folder, a factory, or an ONNX file.

    Raises
    ------
    ConfigError
        For a name that is none of these, and for a run folder with options that it answers itself.
    """
    if not Path(model).is_dir():
        return _other(model, weights, baseline, data, data_dir, box)
    given = {"--weights": weights, "--baseline": baseline, "--data": data, "--box": parse_box(box)}
    if needless := [option for option, value in given.items() if value]:
        raise ConfigError(f"The run {model} has its own model and data. Leave out {', '.join(needless)}.")
    return _run(model, data_dir, trust)


def _run(path: str, data_dir: Path | None, trust: bool) -> LoadedModel:
    from holomorph.training.folder import RunFolder

    folder = RunFolder.open(path)
    config = folder.config if data_dir is None else folder.config.model_copy(update={"data_dir": str(data_dir)})
    baseline = folder.load_model("baseline", trusted=trust) if folder.has_baseline else None
    cost = None
    if (folder.path / "train.json").is_file():
        cost = TrainRecord.load(folder.path / "train.json").cost
    name = f"{config.model} by {config.rule} ({path})"
    return LoadedModel(
        name, folder.load_model(trusted=trust), baseline, config.load_data(), [config.threat], cost, {"run": str(path)}
    )


def _other(
    source: str, weights: Path | None, baseline: Path | None, data: str, data_dir: Path | None,
    box: tuple[float, float] | None,
) -> LoadedModel:  # fmt: skip
    from holomorph.integrations.loading import load_model
    from holomorph.nn.classifiers import MODELS
    from holomorph.nn.foreign import foreign_names, is_foreign

    if not is_foreign(source) and source.partition("?")[0] not in MODELS:
        raise ConfigError(f"{source} is neither a run folder nor a model: {', '.join([*MODELS, *foreign_names()])}.")
    if weights is None and not is_foreign(source):
        raise ConfigError(f"{source} has no weights of its own. Give them with --weights FILE.")
    if not data:
        raise ConfigError("A model that is not a run needs data: give --data folder:PATH, npz:PATH or another source.")
    splits = load_data(data, data_dir=data_dir, box=parse_box(box))
    shape = tuple(splits.shape)
    model = load_model(source, weights, shape=shape, classes=splits.classes)
    other = load_model(source, baseline, shape=shape, classes=splits.classes) if baseline is not None else None
    how = {"factory": source, "weights": str(weights or ""), "shape": ",".join(map(str, shape)),
           "classes": str(splits.classes)}  # fmt: skip
    name = f"{source} with {weights}" if weights else source
    splits = splits.among(getattr(model, "labels", ()))
    return LoadedModel(name, model, other, splits, [ThreatModel("inf", 0.1, splits.box)], None, how)
