"""Files that appear whole or not at all, and the names of what lies beside a record."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from holomorph.errors import ConfigError


def beside(record: Path, suffix: str) -> Path:
    """Name what belongs to a record: its own name with another ending, whole where it does not end in ``.json``.

    >>> [beside(Path(name), ".npz").name for name in ("evaluation.json", "eps-0.1")]
    ['evaluation.npz', 'eps-0.1.npz']
    """
    return record.with_name(record.name.removesuffix(".json") + suffix)


def write_atomically(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file through a temporary neighbour and a rename, so that no half-written file is ever seen.

    Raises
    ------
    ConfigError
        If a folder has that name.
    """
    target = Path(path)
    if target.is_dir():
        raise ConfigError(f"{target} is a folder. Name a file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target
