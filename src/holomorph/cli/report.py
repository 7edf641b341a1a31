"""``holomorph report``: one page about a run, as HTML or as Markdown."""

from pathlib import Path
from typing import Annotated

import typer

from holomorph._utils.io import write_atomically
from holomorph.cli.common import check_output, say
from holomorph.errors import unknown_name
from holomorph.records.reading import read, read_folder

#: The ending of the report's file: what it is.
FORMATS = {"html": "a page that needs no network", "md": "Markdown, on standard output without --out"}


def report_command(
    sources: Annotated[list[Path], typer.Argument(help="A run folder, or the JSON records of one run.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the page; by default the run's, or here.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    form: Annotated[
        str, typer.Option("--format", help="; ".join(f"{name}: {what}" for name, what in FORMATS.items()))
    ] = "html",
) -> None:
    """Write one page about a run: HTML readable without a network, or Markdown for a log."""
    from holomorph.reporting.markdown import markdown
    from holomorph.reporting.render import report

    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    target = (out or (sources[0] if sources[0].is_dir() else Path())) / f"report.{form}"
    if out is not None or form == "html":
        check_output(target, folder=False)
    records = [record for source in sources for record in (read_folder(source) if source.is_dir() else [read(source)])]
    if form == "html":
        say(f"The report lies at {report(records, target, title=title)}")
        return
    text = markdown(records, title=title)
    if out is None:
        typer.echo(text, nl=False)
    else:
        say(f"The report lies at {write_atomically(target, text.encode())}")
