"""Progress of long calls with a time estimate: bars where a person watches, lines in a log file everywhere.

One setting decides: ``HOLOMORPH_PROGRESS=off`` in the environment silences everything, ``on`` shows bars even where
standard error is no terminal. Unset, library calls show bars in a terminal. Lines go to the logger
``holomorph.progress`` at the level INFO, and to a command's standard error where that is a file: at most one every
30 s for each call, so that short ones leave none.
"""

import logging
import os
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

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

_log = logging.getLogger("holomorph.progress")

#: The environment variable that switches progress "on" or "off".
SETTING = "HOLOMORPH_PROGRESS"

#: Seconds between two lines in a log.
INTERVAL = 30.0

_Item = TypeVar("_Item")

_display: Progress | None = None
_silent = False
_depth = 0


class Bar:
    """What :func:`bar` hands out."""

    def __init__(self, description: str, total: float | None, display: Progress | None, task: TaskID | None) -> None:
        self._description = description
        self._total = total
        self._display = display
        self._task = task
        self._done = 0.0
        self._started = self._said = time.monotonic()

    def advance(self, steps: float = 1) -> None:
        """Count further steps as done."""
        self._done += steps
        if self._display is not None and self._task is not None:
            self._display.advance(self._task, steps)
        now = time.monotonic()
        if not _silent and now - self._said >= INTERVAL:
            self._said = now
            _log.info("%s", self._line(now - self._started))

    def describe(self, text: str) -> None:
        """Change the text before the bar."""
        self._description = text
        if self._display is not None and self._task is not None:
            self._display.update(self._task, description=text)

    def _line(self, seconds: float) -> str:
        """What a log says: how much is done, and how long the rest will take at this pace."""
        if self._total is None or self._done <= 0:
            return f"{self._description}: {self._done:g} done after {seconds:.0f} s"
        left = seconds * max(self._total - self._done, 0) / self._done
        return f"{self._description}: {self._done:g} of {self._total:g} after {seconds:.0f} s, about {left:.0f} s left"


@contextmanager
def shown(console: Console | None = None, *, enabled: bool = True) -> Iterator[None]:
    """Show every bar opened inside this block, on standard error unless a console is given; or none of them.

    Commands call this with their ``--quiet``; a second call inside the block changes nothing.

    >>> import io
    >>> out = io.StringIO()
    >>> with shown(Console(file=out, width=80)):
    ...     squares = [n * n for n in track(range(3), "squaring")]
    >>> squares, "squaring" in out.getvalue(), "3/3" in out.getvalue()
    ([0, 1, 4], True, True)
    """
    global _display, _silent
    if _display is not None or _silent:
        yield
        return
    if not enabled or _switched_off():
        _silent = True
        try:
            yield
        finally:
            _silent = False
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    screen = console or Console(stderr=True)
    with Progress(*columns, console=screen) as display, nullcontext() if screen.is_terminal else _lines_on_stderr():
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
    with shown(enabled=not _switched_off()) if _depth == 0 and (_switched_off() or _watched()) else nullcontext():
        display = _display
        task = None if display is None else display.add_task("  " * _depth + description, total=total)
        _depth += 1
        try:
            yield Bar(description, total, display, task)
        finally:
            _depth -= 1
            if display is not None and task is not None:
                if _depth > 0:
                    display.remove_task(task)
                else:
                    display.stop_task(task)


def _switched_off() -> bool:
    return os.environ.get(SETTING) == "off"


def _watched() -> bool:
    """Whether a library call outside of any command shows bars."""
    return os.environ.get(SETTING) == "on" or (sys.stderr is not None and sys.stderr.isatty())


@contextmanager
def _lines_on_stderr() -> Iterator[None]:
    """Where a command's standard error is a file, write the log's lines into it: bars do not move there."""
    handler, level = logging.StreamHandler(), _log.level
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    try:
        yield
    finally:
        _log.removeHandler(handler)
        _log.setLevel(level)


def track(iterable: Iterable[_Item], description: str, total: float | None = None) -> Iterator[_Item]:
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
