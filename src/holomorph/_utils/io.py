"""Files that appear whole or not at all, and that never take the place of what is not a plain file."""

import errno
import json
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holomorph.errors import ConfigError, StorageError

#: How the temporary neighbour of a file is called until it is whole; what a kill leaves is known by it.
_UNFINISHED = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.part")


def beside(record: Path, suffix: str) -> Path:
    """Name what belongs to a record: its own name with another ending, whole where it does not end in ``.json``.

    >>> [beside(Path(name), ".npz").name for name in ("evaluation.json", "eps-0.1")]
    ['evaluation.npz', 'eps-0.1.npz']
    """
    return record.with_name(record.name.removesuffix(".json") + suffix)


def read_plain(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a plain file. A pipe or a device, which would be waited for, is an ``OSError`` like a missing file.

    >>> read_plain("/dev/zero")
    Traceback (most recent call last):
    OSError: [Errno 22] no plain file: '/dev/zero'
    """
    return _plain(path).read_bytes()


def _plain(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    if file.exists() and not file.is_file() and not file.is_dir():
        raise OSError(errno.EINVAL, "no plain file", str(file))
    return file


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds.

    Raises
    ------
    OSError, ValueError
        For a file that cannot be read, is no JSON, or is nested too deeply for any of ours.
    """
    try:
        return json.loads(read_plain(path))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_npz(path: str | os.PathLike[str], names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """The plain arrays of an npz file, or those of these names alone; nothing in it is unpickled.

    Raises
    ------
    OSError, ValueError
        For a file that cannot be read, and for one that is damaged, in whichever of many ways.
    """
    file = _plain(path)
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (arrays.files if names is None else names)}
    except OSError:
        raise
    except Exception as error:  # a damaged archive raises many kinds
        raise ValueError(f"it is damaged or no npz file ({error})") from None


def write_atomically(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file through a temporary neighbour and a rename, so that no half-written file is ever seen.

    Raises
    ------
    ConfigError
        If something that is not a plain file has that name: a folder, a link, a device.
    StorageError
        If the disk is full, or the place cannot be written.
    """
    target = Path(path)
    refuse_odd(target)
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # the umask takes its part away
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(unfinished, target)
    except OSError as error:
        _drop(unfinished)
        raise StorageError(target, error) from error
    except BaseException:
        _drop(unfinished)
        raise
    return target


def refuse_odd(path: Path) -> None:
    """Refuse to write at a name that a folder, a link, a device or a pipe has.

    Raises
    ------
    ConfigError
        Saying what is there.
    """
    if path.is_symlink():
        raise ConfigError(f"{path} is a link. What it points to is left alone; name a file.")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. Name a file.")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path} is no plain file. Name a file.")


#: What a page of ours says near its beginning.
GENERATOR = '<meta name="generator" content="holomorph">'


def is_ours(page: Path) -> bool:
    """Whether a page was written by this package."""
    return GENERATOR.encode() in page.read_bytes()[:1000]


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed writes of these files have left in a folder."""
    known = set(names)
    for path in folder.glob(".*.part") if folder.is_dir() else ():
        found = _UNFINISHED.fullmatch(path.name)
        if found and found["name"] in known and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def _drop(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # whoever took the place away has taken the file with it
