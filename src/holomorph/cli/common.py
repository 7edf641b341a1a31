"""What the commands share: the words they print and what they look at first."""

import os
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from holomorph._utils.io import refuse_odd
from holomorph.errors import ConfigError

#: Where a command speaks to a person; records and values go to files.
console = Console(stderr=True, highlight=False, soft_wrap=True)


def either(words: Iterable[str]) -> str:
    """Names to choose from, as a help text lists them.

    >>> either(["a"]), either(["a", "b", "c"])
    ('a', 'a, b or c')
    """
    *some, last = words
    return f"{', '.join(some)} or {last}" if some else last


def check_output(out: Path, option: str = "--out", *, folder: bool = True) -> None:
    """Refuse, before any work, a path at which the file or the folder cannot be written."""
    if out.exists() and out.is_dir() != folder:
        found, wanted = ("file", "folder") if folder else ("folder", "file")
        raise ConfigError(f"{option} {out} is a {found}. Name a {wanted}.")
    if not folder:
        refuse_odd(out)
    above = next(parent for parent in out.absolute().parents if parent.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ConfigError(f"{option} {out} cannot be written: nothing can be added to {above}. Choose another place.")


def evaluation_file(path: Path) -> Path:
    """The evaluation that a path names: the file itself, or that of a run folder."""
    return path / "evaluation.json" if path.is_dir() else path


def say(text: str) -> None:
    """Print one line to standard error."""
    console.print(text, markup=False, emoji=False)


def say_found(lines: Iterable[str], record: Path) -> None:
    """Print what was found, and where the record lies."""
    for line in (*lines, f"The record lies at {record}"):
        say(line)


def sentence(error: Exception) -> str:
    """Put an error on one line."""
    return " ".join(str(error).split())


def parse_box(values: tuple[float, float] | None) -> tuple[float, float] | None:
    """Treat the option's empty value as none given."""
    return None if values is None or values == (0.0, 0.0) else values
