"""``holomorph check``: a gate for continuous integration, on a saved evaluation."""

from pathlib import Path
from typing import Annotated

import typer

from holomorph._utils.interval import percent
from holomorph._utils.words import counted
from holomorph.cli.common import evaluation_file, say
from holomorph.errors import ConfigError
from holomorph.records.evaluation import EvaluationRecord

#: The exit status of a gate that failed.
GATE_FAILED = 3


def check_command(
    run: Annotated[Path, typer.Argument(help="A run folder, or its evaluation.json.")],
    min_robust: Annotated[
        float | None, typer.Option("--min-robust", min=0.0, max=1.0, help="Least robust accuracy, for instance 0.5.")
    ] = None,
    min_clean: Annotated[
        float | None, typer.Option("--min-clean", min=0.0, max=1.0, help="Least clean accuracy, for instance 0.9.")
    ] = None,
    allow_quick: Annotated[
        bool, typer.Option("--allow-quick", help="Accept a quick evaluation, whose accuracies are too high.")
    ] = False,
) -> None:
    """Exit with 3 where a saved evaluation is less accurate than asked, is only a quick look, or failed its checks."""
    if min_robust is None and min_clean is None:
        raise ConfigError("There is nothing to check. Give --min-robust 0.5, --min-clean 0.9, or both.")
    found = EvaluationRecord.load(evaluation_file(run))
    problems = [
        f"The {name} accuracy is {percent(value)}, less than the {percent(least)} asked for."
        for name, value, least in (("robust", found.robust, min_robust), ("clean", found.clean, min_clean))
        if least is not None and value < least
    ]
    if min_robust is not None:
        problems += [f"The check {c.name!r} failed. {c.reason}" for c in found.failed]
        if found.quick and not allow_quick:
            problems.append("The evaluation was a quick look. Evaluate in full, or give --allow-quick.")
    for problem in problems:
        say(problem)
    if problems:
        raise typer.Exit(GATE_FAILED)
    samples = counted(found.samples, "sample")
    say(f"Passed: {percent(found.robust)} robust and {percent(found.clean)} clean on {samples}.")
