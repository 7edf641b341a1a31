"""What a part of the report is made of."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from holomorph.errors import ConfigError
from holomorph.records.base import Record

R = TypeVar("R", bound=Record)

#: What a part's template sees; None leaves the part out.
Context = dict[str, Any] | None


class ReportPart(NamedTuple):
    """A part of the page: its template ``parts/<name>.html.j2`` and what fills it."""

    name: str
    build: Callable[[Sequence[Record]], Context]


def one(records: Sequence[Record], kind: type[R]) -> R | None:
    """Find the record of a kind, or None.

    Raises
    ------
    ConfigError
        Where there are two of them: a report speaks of one run.
    """
    found = [record for record in records if isinstance(record, kind)]
    if len(found) > 1:
        raise ConfigError(
            f"A report speaks of one run, but {len(found)} {kind.KIND} records were given. "
            f"Write one report for each, or use holomorph compare."
        )
    return found[0] if found else None
