"""``holomorph evaluate``: attack a run, or any model, and check the attacks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from torch import nn

from holomorph._utils import progress
from holomorph._utils.io import write_atomically
from holomorph.cli import options
from holomorph.cli.common import check_output, either, evaluation_file, say
from holomorph.cli.models import LoadedModel, NamedModel
from holomorph.cli.summary import evaluation_lines
from holomorph.errors import ConfigError
from holomorph.evaluation.evaluate import evaluate
from holomorph.evaluation.paired import versus
from holomorph.evaluation.processes import ACCELERATORS, share
from holomorph.evaluation.robustbench import robustbench as robustbench_fields
from holomorph.explanation.energy_profile import diagnose
from holomorph.records.evaluation import EvaluationRecord
from holomorph.threats import ThreatModel

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def evaluate_command(
    model: options.ModelOrRun,
    threat: options.RunThreats = None,
    weights: options.WeightsFile = None,
    baseline: Annotated[Path | None, typer.Option(help="Weights of an undefended model of the same kind.")] = None,
    data: options.DataName = "",
    data_dir: options.DataDir = None,
    box: options.BoxOption = None,
    n: Annotated[int, typer.Option("--n", help="Test samples to attack.", min=1)] = 1000,
    batch_size: options.BatchSize = 250,
    quick: Annotated[bool, typer.Option("--quick", help="An upper bound in about a minute.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="More starts, and the boundary attack.")] = False,
    decide: Annotated[
        float | None, typer.Option(help="Stop once robust accuracy is above or below this share.")
    ] = None,
    precision: Annotated[float | None, typer.Option(help="Stop once it is known to so many points, such as 2.")] = None,
    prove: Annotated[float, typer.Option(help="Seconds for proofs (10 at most with --quick); 0: none.", min=0)] = 60.0,
    features: options.FeaturesText = None,
    against: Annotated[Path | None, typer.Option(help="Another run, or evaluation.json, on the same samples.")] = None,
    devices: Annotated[int, typer.Option(help="Processes that share the batches.", min=1)] = 1,
    accelerator: Annotated[str, typer.Option(help=f"{either(ACCELERATORS)}.")] = "cpu",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 3 when a check fails.")] = False,
    out: options.OutFolder = None,
    robustbench: Annotated[Path | None, typer.Option(help="Also write the fields RobustBench asks for.")] = None,
    force: options.Force = False,
    resume: options.Resume = False,
    trust: options.Trust = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> None:
    """Attack a model with everything there is, count the worst case, and check the attacks themselves."""
    named = NamedModel(model, weights, data, data_dir, box, trust, baseline)
    folder = named.folder(out, "evaluation")
    check_output(folder)
    _check_robustbench(robustbench, force)
    settings = {"n": n, "batch_size": batch_size, "quick": quick, "thorough": thorough, "decide": decide,
                "precision": precision, "prove": prove, "seed": seed, "out": folder, "resume": resume,
                "force": force}  # fmt: skip
    found, other = named.load(), EvaluationRecord.load(evaluation_file(against)) if against else None
    run_shared(EvaluationRequest(named, threat, features, settings, shown=not quiet), found, devices, accelerator)
    record = _compared(folder / "evaluation.json", other)
    if out is None and named.is_run and features is None and found.features is None:
        _diagnose(found, folder, seed)
    if robustbench is not None:
        write_atomically(robustbench, (json.dumps(robustbench_fields(record), indent=1) + "\n").encode())
    for line in evaluation_lines(record, len(found.splits.y_test), n):
        say(line)
    if strict and record.failed:
        raise typer.Exit(3)


def _check_robustbench(path: Path | None, force: bool) -> None:
    if path is None:
        return
    check_output(path, "--robustbench", folder=False)
    if path.exists() and not force:
        raise ConfigError(f"--robustbench {path} exists. Name another file, or give --force to replace it.")


def _compared(path: Path, other: EvaluationRecord | None) -> EvaluationRecord:
    """The record that was written, with the differences to another one if there is one."""
    record = EvaluationRecord.load(path)
    if other is not None:
        record = record.model_copy(update={"differences": record.differences + versus(record, other)}).sealed()
        record.save(path)
    return record


@dataclass(frozen=True)
class EvaluationRequest:
    """What the command was asked to do; it travels to the processes that do it.

    ``settings`` are those of :func:`holomorph.evaluate` that need no data.
    """

    named: NamedModel
    threat: str | None
    features: str | None
    settings: dict[str, Any]
    shown: bool


def run_shared(asked: EvaluationRequest, found: LoadedModel, devices: int, accelerator: str) -> None:
    """Evaluate in this process, or in several, each of which loads the model itself."""
    if devices > 1 or accelerator != "cpu":
        share(run_evaluation, asked, devices=devices, accelerator=accelerator)
    else:
        run_evaluation(None, asked, found)


def run_evaluation(fabric: Fabric | None, asked: EvaluationRequest, found: LoadedModel | None = None) -> None:
    """Evaluate on the first n test samples, or all there are; the first process writes the record."""
    found = found or asked.named.load()
    first, (x, y) = fabric is None or fabric.global_rank == 0, found.splits.part("test")
    features = found.splits.features_of(asked.features) if asked.features else None
    if features is None:
        threats = found.threats(asked.threat)
    else:
        threats = ThreatModel.parse_many(asked.threat or "inf:1", features.hull)
    move = nn.Module.cpu if fabric is None else fabric.to_device
    baseline = None if found.baseline is None else move(found.baseline)
    with progress.shown(enabled=asked.shown and first):
        evaluate(
            move(found.model), x, y, threats, baseline=baseline, features=features, fabric=fabric,
            model_name=found.name, data_name=found.splits.name, class_names=found.splits.names,
            training_cost=found.training_cost, source=found.source,
            **asked.settings | {"n": min(asked.settings["n"], len(y))},
        )  # fmt: skip


#: Samples whose gradients go into the report's histogram; more would not change the picture.
DIAGNOSED = 500


def _diagnose(found: LoadedModel, folder: Path, seed: int) -> None:
    """Measure the input gradients of a run's model beside its baseline's, for the report."""
    x, y = (part[:DIAGNOSED] for part in found.splits.part("test"))
    record = diagnose(found.model, x, y, threat=found.own_threats[0], baseline=found.baseline, seed=seed)
    record.save(folder / "diagnostics.json")
