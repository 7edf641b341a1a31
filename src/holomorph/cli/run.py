"""``holomorph run``: train, evaluate, report, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holomorph import progress
from holomorph.cli.common import Quiet, Seed, percent, say
from holomorph.cli.evaluate import evaluate
from holomorph.cli.report import report
from holomorph.cli.train import train
from holomorph.records.evaluation import EvaluationRecord
from holomorph.records.training import TrainRecord


def run(
    data: Annotated[str, typer.Option("--data", help="digits, fashion-mnist or npz:PATH.")] = "digits",
    rule: Annotated[str, typer.Option(help="NAME or NAME(setting=value,...).")] = "dirichlet",
    threat: Annotated[str, typer.Option(help="NORM:EPS, for instance inf:8/255.", metavar="NORM:EPS")] = "inf:0.1",
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/first"),
    model: Annotated[str, typer.Option(help="cnn, mlp or package.module:factory.")] = "auto",
    activation: Annotated[str, typer.Option(help="gelu, silu, softplus, tanh, sin or relu.")] = "gelu",
    epochs: Annotated[int, typer.Option(help="Passes over the data; 0 chooses by the data set.")] = 0,
    n: Annotated[int, typer.Option("--n", help="Test samples to attack.")] = 1000,
    twin: Annotated[bool, typer.Option("--twin/--no-twin", help="Also train an undefended twin.")] = True,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the IDX files of Fashion-MNIST.")] = None,
    box: Annotated[tuple[float, float] | None, typer.Option(help="LOW HIGH of the inputs of an npz file.")] = None,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run in the folder.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped run was.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a robust classifier and its undefended twin, attack both, and write the report."""
    with progress.shown(enabled=not quiet):
        train(
            data=data,
            rule=rule,
            threat=threat,
            out=out,
            model=model,
            activation=activation,
            epochs=epochs,
            twin=twin,
            data_dir=data_dir,
            box=box,
            seed=seed,
            force=force,
            resume=resume,
            quiet=quiet,
        )
        evaluate(str(out), threat=None, n=n, seed=seed, resume=resume, quiet=quiet)
        report([out])
    for line in summary(out):
        say(line)


def summary(out: Path) -> list[str]:
    """Four lines on what was found, and where the report lies."""
    training = TrainRecord.load(out / "train.json")
    found = EvaluationRecord.load(out / "evaluation.json")
    twin = found.twin
    verdicts = [check.verdict for check in found.checks]
    beside = f", undefended twin {percent(twin.robust)}" if twin else ""
    cost = f"{training.measured_cost:.1f} times" if training.measured_cost else f"{training.cost:.1f} times (counted)"
    return [
        f"Clean accuracy   {percent(found.clean)}" + (f", undefended twin {percent(twin.clean)}" if twin else ""),
        f"Robust accuracy  {percent(found.robust)}{beside}, worst of all attacks at {found.threats[0].threat} "
        f"on {found.samples} test samples",
        f"Training cost    {cost} plain training",
        f"Checks           {verdicts.count('pass')} passed, {verdicts.count('warn')} warned, "
        f"{verdicts.count('fail')} failed, {verdicts.count('not run')} not run",
        f"Report           {out / 'report.html'}",
    ]
