"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour images of 32x32 pixels, as published or as folders of classes."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holomorph.data.sources import folders
from holomorph.data.sources.base import DataRequest
from holomorph.data.splits import Splits
from holomorph.errors import DataError

#: Bytes of an image, and how many of the last training images are for validation.
_PIXELS, _VALIDATION = 3 * 32 * 32, 5000


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets.

    Attributes
    ----------
    name:
        As in the names of its archives.
    train, test:
        Names of the files of its python and binary archives, without the ending .bin.
    skipped:
        Bytes before the label in the binary form (the coarse label of CIFAR-100).
    labels:
        Key of the labels in the python form.
    names:
        Where the class names stand: file of the binary form, file and key of the python form.
    """

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    skipped: int
    labels: str
    names: tuple[str, str, str]

    def read(self, asked: DataRequest) -> Splits:
        """Find the data in the folder, in whichever form; the last 5,000 training images are for validation."""
        folder = asked.data_dir
        if folder is None or not folder.is_dir():
            raise DataError(f"The data set {asked.text!r} needs its folder. {self._ways()}")
        if (folder / "train").is_dir() and (folder / "test").is_dir():
            return folders.read_image_folder(DataRequest(asked.text, path=folder))
        for form in (f"{self.name}-batches-bin", f"{self.name}-binary"):
            if (inner := folder / form).is_dir():
                return self._splits(asked, _Files(inner), binary=True)
        for form in (f"{self.name}-batches-py", f"{self.name}-python"):
            if (inner := folder / form).is_dir():
                return self._splits(asked, _Files(inner), binary=False)
        for form in ("binary", "python"):
            archive = folder / f"{self.name}-{form}.tar.gz"
            if archive.is_file():
                with _opened(archive) as files:
                    return self._splits(asked, files, binary=form == "binary")
        raise DataError(f"{folder} does not hold {asked.text}. {self._ways()}")

    def _ways(self) -> str:
        return (
            f"Give --data-dir FOLDER with {self.name}-binary.tar.gz or {self.name}-python.tar.gz from "
            "https://www.cs.toronto.edu/~kriz/cifar.html, packed or unpacked, or with the folders train and test of "
            "class-named folders of images."
        )

    def _splits(self, asked: DataRequest, files: _Files, *, binary: bool) -> Splits:
        read = self._binary if binary else self._python
        train, test = (_joined([read(files, name) for name in names]) for names in (self.train, self.test))
        kept = len(train[1]) - min(_VALIDATION, len(train[1]) // 10)
        arrays = {"train": (train[0][:kept], train[1][:kept]), "val": (train[0][kept:], train[1][kept:]), "test": test}
        return folders.as_splits(asked, arrays, self._class_names(files, binary=binary))

    def _binary(self, files: _Files, name: str) -> folders.Images:
        content = np.frombuffer(files.bytes(f"{name}.bin"), np.uint8)
        width = self.skipped + 1 + _PIXELS
        if len(content) == 0 or len(content) % width:
            raise DataError(f"{name}.bin of {self.name} has {len(content)} bytes, not rows of {width}. Fetch it again.")
        rows = content.reshape(-1, width)
        return _images(rows[:, self.skipped + 1 :]), rows[:, self.skipped].astype(np.int64)

    def _python(self, files: _Files, name: str) -> folders.Images:
        found = files.unpickled(name)
        try:
            data, labels = found[b"data"], found[self.labels.encode()]
            return _images(np.asarray(data, np.uint8)), np.asarray(labels, np.int64)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{name} is no file of {self.name} ({error}). Fetch it again.") from error

    def _class_names(self, files: _Files, *, binary: bool) -> tuple[str, ...]:
        text, pickled, key = self.names
        if binary:
            return tuple(files.bytes(text).decode().split())
        return tuple(name.decode() for name in files.unpickled(pickled)[key.encode()])


class _Files:
    """Files of a folder or of an archive, by their name alone."""

    def __init__(self, folder: Path, archive: tarfile.TarFile | None = None) -> None:
        self._folder, self._archive = folder, archive
        self._members = {Path(m.name).name: m for m in archive.getmembers() if m.isfile()} if archive else {}

    def bytes(self, name: str) -> bytes:
        """The content of a file."""
        try:
            if self._archive is None:
                return (self._folder / name).read_bytes()
            member = self._archive.extractfile(self._members[name])
            return member.read() if member is not None else b""
        except (OSError, KeyError, EOFError, tarfile.TarError) as error:
            raise DataError(f"There is no whole file {name} in {self._folder} ({error}). Fetch it again.") from error

    def unpickled(self, name: str) -> Any:
        """A pickled dictionary of arrays; one that asks for anything else is refused, and nothing of it is run."""
        try:
            return _ArraysOnly(io.BytesIO(self.bytes(name)), encoding="bytes").load()
        except (pickle.UnpicklingError, EOFError, ValueError, AttributeError, TypeError, IndexError) as error:
            raise DataError(
                f"{name} in {self._folder} is no file of plain arrays ({error}). Fetch it again."
            ) from error


class _ArraysOnly(pickle.Unpickler):
    """Makes lists, dictionaries and NumPy arrays, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the makers of arrays; every other name is refused."""
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.zeros(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, _: text.encode("latin1")  # how Python 3 writes bytes in an old protocol
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


@contextmanager
def _opened(archive: Path) -> Iterator[_Files]:
    try:
        with tarfile.open(archive) as found:
            yield _Files(archive, found)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive} is not a whole archive ({error}). Fetch it again.") from error


def _images(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows of three planes of colour as images (samples, height, width, channels)."""
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _joined(parts: list[folders.Images]) -> folders.Images:
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


CIFAR10 = Cifar(
    "cifar-10",
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    ("test_batch",),
    0,
    "labels",
    ("batches.meta.txt", "batches.meta", "label_names"),
)
CIFAR100 = Cifar(
    "cifar-100", ("train",), ("test",), 1, "fine_labels", ("fine_label_names.txt", "meta", "fine_label_names")
)
