"""``holomorph run``: train, evaluate, report, in one command."""

from pathlib import Path
from typing import Annotated

import typer

from holomorph._utils import progress
from holomorph._utils.interval import percent
from holomorph.cli import options
from holomorph.cli.common import say
from holomorph.cli.evaluate import evaluate_command
from holomorph.cli.report import report_command
from holomorph.cli.train import train_command
from holomorph.nn.foreign import is_code
from holomorph.records.evaluation import EvaluationRecord
from holomorph.records.training import TrainRecord
from holomorph.reporting.certified import verdict_sentence
from holomorph.rules import DEFAULT


def run_command(
    context: typer.Context,
    data: options.DataName = "digits",
    rule: options.RuleText = DEFAULT,
    threat: options.OneThreat = "inf:0.1",
    features: options.FeaturesText = None,
    out: options.RunPath = Path("runs/first"),
    model: options.ModelName = "auto",
    activation: options.ActivationName = "gelu",
    epochs: options.Epochs = 0,
    n: Annotated[int, typer.Option("--n", help="Test samples to attack.", min=1)] = 1000,
    prove: Annotated[float, typer.Option(help="Seconds for proofs; 0: none.", min=0)] = 60.0,
    baseline: options.WithBaseline = True,
    data_dir: options.DataDir = None,
    box: options.BoxOption = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    resume: options.Resume = False,
    trust: options.Trust = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a robust classifier and its undefended baseline, attack both, and write the report."""
    with progress.shown(enabled=not quiet):
        train_command(
            context, data=data, rule=rule, threat=threat, features=features, out=out, model=model,
            activation=activation, epochs=epochs, baseline=baseline, data_dir=data_dir, box=box, seed=seed,
            force=force, resume=resume, trust=trust, quiet=quiet,
        )  # fmt: skip
        evaluate_command(str(out), threat=None, n=n, prove=prove, seed=seed, force=force, resume=resume,
                         trust=trust or is_code(model), quiet=quiet)  # fmt: skip
        report_command([out])
    for line in run_lines(out):
        say(line)


def run_lines(out: Path) -> list[str]:
    """A few lines on what was found, and where the report lies."""
    training = TrainRecord.load(out / "train.json")
    found = EvaluationRecord.load(out / "evaluation.json")
    baseline = found.baseline
    verdicts = [check.verdict for check in found.checks]
    beside = f", undefended baseline {percent(baseline.robust)}" if baseline else ""
    clock = f", {training.measured_cost:.1f} times by wall time" if training.measured_cost else ""
    return [
        *([verdict_sentence(found, found.certificate).replace("\u202f", " ")] if found.certificate else []),
        f"Clean accuracy   {percent(found.clean)}"
        + (f", undefended baseline {percent(baseline.clean)}" if baseline else ""),
        f"Robust accuracy  {percent(found.robust)}{beside}, worst of all attacks at {found.threats[0].threat} "
        f"on {found.samples} test samples",
        f"Training cost    {training.cost:.1f} times plain training by passes{clock}",
        f"Checks           {verdicts.count('pass')} passed, {verdicts.count('warn')} warned, "
        f"{verdicts.count('fail')} failed, {verdicts.count('not run')} not run",
        f"Report           {out / 'report.html'}",
    ]
