"""``holomorph export``: a run's model as one file, checked, with its model card."""

from pathlib import Path
from typing import Annotated

import typer

from holomorph._utils.interval import percent
from holomorph.cli.common import check_output, either, say
from holomorph.integrations.export import WRITERS, export


def export_command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[str, typer.Option("--to", help=f"{either(WRITERS)}.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder; export in the run's folder by default.")] = None,
) -> None:
    """Write a run's model as one file with a model card, and check it on test samples."""
    if out is not None:
        check_output(out)
    done = export(run, to, out)
    say(f"The model lies at {done.path}, its card at {done.card}")
    say(
        f"Read back: {percent(done.accuracy)} of {done.samples} test samples correct, as by the run's own model; "
        f"the logits differ by {done.difference:.1g} of the largest."
    )
