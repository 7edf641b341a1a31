"""Features of a table as a person writes them: ``income=500 down, claims=2 whole``."""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from holomorph.errors import ConfigError, DataError, unknown_name
from holomorph.threats.features import Features

_ENTRY = re.compile(r"(?P<name>.+?)\s*=\s*(?P<eps>[0-9.eE+-]+)(?P<words>(\s+(up|down|whole))*)")


def written_features(text: str, columns: Sequence[str], rows: Tensor) -> Features:
    """Read the eps of each column in its own unit, from a text, a file with such lines, or an npz file.

    ``up`` and ``down`` let a column only rise or fall, ``whole`` keeps whole numbers. Columns that are not named cannot
    be changed. A column of words is named as in the table; its codes stay one-hot. Ranges are those of the rows.

    Raises
    ------
    ConfigError
        For a text that cannot be read, and unknown columns.
    DataError
        For a file that is missing, and data without names of columns.

    >>> columns, rows = ("age", "city=Rome", "city=Oslo"), torch.tensor([[40.0, 1, 0], [60, 0, 1]])
    >>> found = written_features("age=2.5 up, city=1", columns, rows)
    >>> found.eps.tolist(), found.direction.tolist(), found.groups.tolist()
    ([2.5, 1.0, 1.0], [1, 0, 0], [0, 1, 1])
    """
    if "=" not in text:
        if text.endswith(".npz"):
            return Features.load(text)
        try:
            text = Path(text).read_text()
        except (OSError, UnicodeDecodeError, ValueError):
            raise DataError(f"There is no text file {text[:60]}. Write 'COLUMN=EPS, ...', or name a file.") from None
    if not columns:
        raise DataError("The columns of the data have no names. Give the features as an npz file.")
    eps, count = torch.zeros(len(columns), dtype=torch.float64), len(columns)
    direction, whole = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.bool)
    named = torch.zeros(count, dtype=torch.bool)
    bases = [column.rpartition("=")[0] for column in columns]
    kinds = {base: number for number, base in enumerate(dict.fromkeys(filter(None, bases)), 1)}
    for entry in filter(None, map(str.strip, re.split("[,\n]", text))):
        found = _ENTRY.fullmatch(entry)
        try:
            value = float(found["eps"]) if found else None
        except ValueError:
            value = None
        if found is None or value is None:
            raise ConfigError(f"Cannot read the feature {entry[:60]!r}. Write COLUMN=EPS, then up, down or whole.")
        places = torch.tensor([found["name"] in (column, base) for column, base in zip(columns, bases, strict=True)])
        if not places.any():
            raise unknown_name("column", found["name"], {b or c for b, c in zip(bases, columns, strict=True)})
        words = found["words"].split()
        if bool((named & places).any()) or {"up", "down"} <= set(words):
            raise ConfigError(f"The entry {entry[:60]!r} contradicts another or itself. Name a column and a way once.")
        named |= places
        eps[places], whole[places] = value, "whole" in words
        direction[places] = ("up" in words) - ("down" in words)
    groups = torch.tensor([kinds.get(base, 0) for base in bases])
    return Features(eps, rows.amin(0), rows.amax(0), direction, whole, groups)
