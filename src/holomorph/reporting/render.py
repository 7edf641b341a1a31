"""Put the parts together into one HTML page that needs no network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from holomorph._utils.io import is_ours, write_atomically
from holomorph.errors import ConfigError
from holomorph.records.base import Record
from holomorph.records.comparison import ComparisonRecord
from holomorph.records.evaluation import EvaluationRecord
from holomorph.records.training import TrainRecord
from holomorph.reporting import words
from holomorph.reporting.parts import PARTS
from holomorph.reporting.parts.base import one
from holomorph.reporting.words import counted, model_name

if TYPE_CHECKING:
    from jinja2 import Environment


def report(records: Sequence[Record], path: str | os.PathLike[str], *, title: str | None = None) -> Path:
    """Write one HTML page about a run: :func:`render`, saved whole or not at all.

    Parameters
    ----------
    records:
        What the commands found about one run, in any order; a part whose record is missing is left out.
    path:
        Where to write.
    title:
        Of the page; by default the model, the data and the rule.

    Returns
    -------
    Path
        Where the page lies.

    Raises
    ------
    ConfigError
        For two records of one kind, none that a page could be made of, or a file at ``path`` that is no report.

    Examples
    --------
    >>> from holomorph.records.training import Epoch, TrainRecord
    >>> run = TrainRecord(
    ...     model="mlp", parameters=10, samples=5, rule="plain", rule_settings={}, seed=0, epochs=1, batch_size=5,
    ...     optimizer="adam", lr=0.01, weight_decay=0.0, history=(Epoch(number=1, loss=0.7, lr=0.0, seconds=1.0),),
    ...     seconds=1.0, cost=1.0,
    ... )
    >>> "not yet attacked" in render([run])
    True
    """
    target = Path(path)
    if target.is_file() and not is_ours(target):
        raise ConfigError(f"{target} is no report of holomorph and is left alone. Choose another name.")
    return write_atomically(target, render(records, title=title).encode())


def render(records: Sequence[Record], *, title: str | None = None) -> str:
    """Return the page as text; the arguments and errors are those of :func:`report`."""
    filled = [(part.name, part.build(records)) for part in PARTS]
    parts = [{"template": f"parts/{name}.html.j2", "view": view} for name, view in filled if view is not None]
    if not parts:
        raise ConfigError("There is nothing to report: none of the records speaks of a run. Train or evaluate first.")
    page = _environment().get_template("page.html.j2")
    return page.render(title=title or title_of(records), parts=parts)


def title_of(records: Sequence[Record]) -> str:
    """Name model and data, and the rule where it is known."""
    run, found, rules = one(records, TrainRecord), one(records, EvaluationRecord), one(records, ComparisonRecord)
    if run is not None:
        return f"{model_name(run.model)}{_on(run.data)}, trained by {run.rule}"
    if found is not None:
        return f"{found.model}{_on(found.data)}"
    if rules is not None:
        return f"{counted(len(rules.rules), 'learning rule')} compared: {rules.model}{_on(rules.data)}"
    return "Report"


def _on(data: str) -> str:
    return f" on {data}" if data else ""


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("holomorph.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=words.counted,
        duration=words.duration,
        listed=words.listed,
        percent=words.percentage,
        percent_range=words.percent_range,
        times=words.times,
    )
    return environment
