"""Arrays kept by name while a long measurement runs, so that a stopped one goes on where it was."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from holomorph._utils.io import write_atomically


class Shelf:
    """A folder of arrays that belong to one measurement; without a folder nothing is kept.

    Parameters
    ----------
    folder:
        Where the arrays lie, one file a name; made when something is kept.
    fingerprint:
        Of the measurement. What another one has left is not taken for this one's.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Shelf(Path(folder), "a").keep("batch-0", found=np.arange(3))
    ...     Shelf(Path(folder), "a").find("batch-0"), Shelf(Path(folder), "b").find("batch-0")
    ({'found': array([0, 1, 2])}, None)
    """

    def __init__(self, folder: Path | None = None, fingerprint: str = "") -> None:
        self._folder = folder
        self._fingerprint = fingerprint

    def find(self, name: str) -> dict[str, NDArray[Any]] | None:
        """Return what was kept under the name, None if nothing was or if it belongs to another measurement."""
        if self._folder is None or not self._file(name).exists():
            return None
        try:
            with np.load(self._file(name), allow_pickle=False) as kept:
                arrays = dict(kept)
        except (OSError, ValueError, EOFError, BadZipFile):  # a damaged one counts as missing
            return None
        if "fingerprint" not in arrays:
            return None
        return arrays if str(arrays.pop("fingerprint")) == self._fingerprint else None

    def keep(self, name: str, **arrays: NDArray[Any]) -> None:
        """Keep arrays under the name, whole or not at all."""
        if self._folder is None:
            return
        stream = io.BytesIO()
        np.savez_compressed(stream, fingerprint=np.array(self._fingerprint), **arrays)  # type: ignore[arg-type]
        write_atomically(self._file(name), stream.getvalue())

    def _file(self, name: str) -> Path:
        return (self._folder or Path()) / f"{name}.npz"
