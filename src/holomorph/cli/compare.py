"""``holomorph compare``: rules against each other under an equal budget."""

from pathlib import Path
from typing import Annotated

import typer

from holomorph._utils import progress
from holomorph._utils.io import write_atomically
from holomorph.cli import options
from holomorph.cli.common import check_output, either, parse_box, say
from holomorph.comparison.attacks import ATTACK_NAMES
from holomorph.rules import RULES
from holomorph.threats import ThreatModel


def compare_command(
    rules: Annotated[str, typer.Option(help=f"Some with commas, as --rule of train takes them: {either(RULES)}.")],
    data: options.DataName = "digits",
    threat: options.Threats = "inf:0.1",
    budget: Annotated[str, typer.Option(help="Of each training: 6epochs, 90s, 10m.")] = "6epochs",
    seeds: Annotated[int, typer.Option(help="Trainings of each rule.", min=1)] = 3,
    split: Annotated[str, typer.Option(help="; ".join(f"{name}: {how}" for name, how in ATTACK_NAMES.items()))] = "val",
    out: Annotated[Path, typer.Option(help="Folder of the runs and the record.")] = Path("runs/compare"),
    model: options.ModelName = "auto",
    activation: options.ActivationName = "gelu",
    n: Annotated[int, typer.Option(help="Attack the first n samples; 0 for all.", min=0)] = 0,
    batch_size: options.StepSize = 64,
    lr: options.LearningRate = 4e-3,
    ema: options.Averaging = 0.0,
    data_dir: options.DataDir = None,
    box: options.BoxOption = None,
    force: options.Force = False,
    resume: options.Resume = False,
    quiet: options.Quiet = False,
) -> None:
    """Train each rule under an equal budget and attack all alike: a table, two frontier plots, a record."""
    from holomorph import comparison
    from holomorph.data import load_data

    check_output(out)
    splits = load_data(data, data_dir=data_dir, box=parse_box(box))
    threats = ThreatModel.parse_many(threat, splits.box)
    with progress.shown(enabled=not quiet):
        record = comparison.compare(
            splits, split_rules(rules), threats, budget=budget, seeds=seeds, out=out, model=model,
            split=split,  # type: ignore[arg-type]  # checked by compare
            activation=activation, n=n or None, batch_size=batch_size, lr=lr, ema=ema or None, resume=resume,
            force=force,
        )  # fmt: skip
    text = comparison.comparison_table(record)
    write_atomically(out / "comparison.md", f"{text}\n".encode())
    plots = comparison.frontiers(record, out)
    typer.echo(text)
    say(f"Robust accuracies by {record.attack}. Record: {out / 'comparison.json'}; plots: {plots[0]}, {plots[1]}.")


def split_rules(text: str) -> list[str]:
    """Split at commas outside parentheses.

    >>> split_rules("plain, dirichlet(weight=2,power=2)")
    ['plain', 'dirichlet(weight=2,power=2)']
    """
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
