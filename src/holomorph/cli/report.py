"""``holomorph report``: one HTML page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holomorph.cli.common import check_output, say
from holomorph.records.reading import read, read_folder


def report(
    sources: Annotated[list[Path], typer.Argument(help="A run folder, or the JSON records of one run.")],
    out: Annotated[Path | None, typer.Option(help="Folder for report.html; by default the run's, or here.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
) -> None:
    """Write one HTML page about a run, readable without a network."""
    from holomorph.reporting import report as write

    target = (out or (sources[0] if sources[0].is_dir() else Path())) / "report.html"
    check_output(target, folder=False)
    records = [record for source in sources for record in (read_folder(source) if source.is_dir() else [read(source)])]
    say(f"The report lies at {write(records, target, title=title)}")
