"""Arrays kept by name while a long measurement runs, so that a stopped one goes on where it was."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holomorph._utils.io import read_npz, write_atomically


class Cache:
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
    ...     Cache(Path(folder), "a").put("batch-0", found=np.arange(3))
    ...     Cache(Path(folder), "a").get("batch-0"), Cache(Path(folder), "b").get("batch-0")
    ({'found': array([0, 1, 2])}, None)
    """

    def __init__(self, folder: Path | None = None, fingerprint: str = "") -> None:
        self._folder = folder
        self._fingerprint = fingerprint

    def get(self, name: str) -> dict[str, NDArray[Any]] | None:
        """Return what was kept under the name; None where there is nothing that can be read."""
        if self._folder is None:
            return None
        try:
            return read_npz(self._file(self._folder, name))
        except (OSError, ValueError):
            return None

    def put(self, name: str, **arrays: NDArray[Any]) -> None:
        """Keep arrays under the name, whole or not at all."""
        if self._folder is not None:
            stream = io.BytesIO()
            np.savez(stream, **arrays)  # type: ignore[arg-type]
            write_atomically(self._file(self._folder, name), stream.getvalue())

    def _file(self, folder: Path, name: str) -> Path:
        return folder / (hashlib.sha256(f"{self._fingerprint}|{name}".encode()).hexdigest()[:24] + ".npz")
