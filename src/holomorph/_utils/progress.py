"""Progress bars that appear only where the command line switches them on; elsewhere they cost nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

_display: Progress | None = None
_depth = 0


class Bar(Protocol):
    """What :func:`bar` hands out."""

    def advance(self, steps: float = 1) -> None:
        """Count further steps as done."""

    def describe(self, text: str) -> None:
        """Change the text before the bar."""


class _Silent:
    def advance(self, steps: float = 1) -> None:
        pass

    def describe(self, text: str) -> None:
        pass


class _Shown:
    def __init__(self, display: Progress, task: TaskID) -> None:
        self._display = display
        self._task = task

    def advance(self, steps: float = 1) -> None:
        self._display.advance(self._task, steps)

    def describe(self, text: str) -> None:
        self._display.update(self._task, description=text)


@contextmanager
def shown(console: Console | None = None, *, enabled: bool = True) -> Iterator[None]:
    """Show every bar opened inside this block, on standard error unless a console is given.

    Only commands call this; a second call inside the block changes nothing.

    >>> import io
    >>> out = io.StringIO()
    >>> with shown(Console(file=out, width=80)):
    ...     squares = [n * n for n in track(range(3), "squaring")]
    >>> squares, "squaring" in out.getvalue(), "3/3" in out.getvalue()
    ([0, 1, 4], True, True)
    """
    global _display
    if _display is not None or not enabled:
        yield
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console or Console(stderr=True)) as display:
        _display = display
        try:
            yield
        finally:
            _display = None


@contextmanager
def bar(description: str, total: float | None = None) -> Iterator[Bar]:
    """Open a bar that is advanced by hand. A bar inside another one disappears when it is done.

    >>> with bar("attacking", total=2) as progress:
    ...     progress.advance()
    ...     progress.describe("attacking again")
    ...     progress.advance()
    """
    global _depth
    display = _display
    if display is None:
        yield _Silent()
        return
    task = display.add_task("  " * _depth + description, total=total)
    _depth += 1
    try:
        yield _Shown(display, task)
    finally:
        _depth -= 1
        if _depth > 0:
            display.remove_task(task)
        else:
            display.stop_task(task)


def track(iterable: Iterable[T], description: str, total: float | None = None) -> Iterator[T]:
    """Iterate, with a bar if bars are shown; the total is the iterable's length where it has one.

    >>> list(track([1, 2, 3], "counting"))
    [1, 2, 3]
    """
    if total is None and isinstance(iterable, Collection):
        total = len(iterable)
    with bar(description, total) as progress:
        for item in iterable:
            yield item
            progress.advance()
