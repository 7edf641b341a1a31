"""Where data sets come from: scikit-learn's digits, Fashion-MNIST, and the user's own npz file."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holomorph.data.splits import Splits, count_classes
from holomorph.errors import DataError, unknown_name

Box = tuple[float, float]

#: Where Debian's package dataset-fashion-mnist puts the IDX files.
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def load(name: str, *, data_dir: str | Path | None = None, box: Box | None = None) -> Splits:
    """Load a data set by name: ``digits``, ``fashion-mnist`` or ``npz:PATH``.

    Parameters
    ----------
    name:
        The data set.
    data_dir:
        Folder with the four IDX files of Fashion-MNIST, plain or .gz.
    box:
        Range of the coordinates of an npz file; by default the range of its own samples.

    Raises
    ------
    ConfigError
        For an unknown name.
    DataError
        For missing or unusable files.

    >>> load("digits").x_train.shape
    torch.Size([1077, 1, 8, 8])
    """
    if name.startswith("npz:"):
        return _npz(Path(name[4:]), box)
    if name not in SOURCES:
        raise unknown_name("data set", name, [*SOURCES, "npz:PATH"])
    return SOURCES[name](Path(data_dir) if data_dir else None)


def _digits(_data_dir: Path | None) -> Splits:
    """1,797 images of 8x8 pixels, split 60 / 20 / 20 by class, always the same way."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x, y = (digits.images[:, None] / 16.0).astype(np.float32), digits.target.astype(np.int64)
    x_rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=360, stratify=y, random_state=0)
    x_train, x_val, y_train, y_val = train_test_split(x_rest, y_rest, test_size=360, stratify=y_rest, random_state=0)
    training = (torch.from_numpy(x_train), torch.from_numpy(y_train), torch.from_numpy(x_val), torch.from_numpy(y_val))
    return Splits("digits", *training, torch.from_numpy(x_test), torch.from_numpy(y_test), (0.0, 1.0), 10)


def _fashion_mnist(data_dir: Path | None) -> Splits:
    """60,000 + 10,000 images of 28x28 pixels; the last 5,000 training images are for validation."""
    folder = data_dir or DEBIAN_FASHION
    if data_dir is not None or all(_idx_path(folder, name) for name in IDX_FILES):
        x, y, x_test, y_test = (_read_idx(folder, name) for name in IDX_FILES)
    else:
        x, y, x_test, y_test = _fashion_from_openml()
    images, tests = (torch.from_numpy(a.astype(np.float32) / 255.0).reshape(-1, 1, 28, 28) for a in (x, x_test))
    labels, test_labels = (torch.from_numpy(a.astype(np.int64)) for a in (y, y_test))
    training = (images[:-5000], labels[:-5000], images[-5000:], labels[-5000:])
    return Splits("fashion-mnist", *training, tests, test_labels, (0.0, 1.0), 10)


def _idx_path(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    path = _idx_path(folder, name)
    if path is None:
        raise DataError(f"There is no {name}(.gz) in {folder}. {_THREE_WAYS}")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        dimensions = struct.unpack_from(">BBBB", content)[3]
        shape = struct.unpack_from(f">{dimensions}I", content, 4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, struct.error, ValueError) as error:
        raise DataError(f"{path} is not a whole IDX file ({error}). Fetch it again.") from error


def _fashion_from_openml() -> tuple[NDArray[np.uint8], ...]:
    from sklearn.datasets import fetch_openml

    try:
        bunch = fetch_openml("Fashion-MNIST", version=1, as_frame=False, parser="liac-arff")
    except Exception as error:  # whatever the network, the proxy or the parser raises: the remedy is the same
        raise DataError(f"Fashion-MNIST was not found. {_THREE_WAYS} (The download failed: {error})") from error
    x, y = bunch.data.astype(np.uint8), bunch.target.astype(np.uint8)
    return x[:60000], y[:60000], x[60000:], y[60000:]


_THREE_WAYS = (
    "Install Debian's package (apt-get install dataset-fashion-mnist), or give --data-dir FOLDER with the four "
    "IDX files, or go online so that scikit-learn's fetch_openml can download it."
)


def _npz(path: Path, box: Box | None) -> Splits:
    """Arrays x_train, y_train, x_test, y_test and, if they are there, x_val, y_val."""
    arrays = _read_npz(path)
    x, y = _samples(arrays["x_train"]), _labels(arrays["y_train"])
    x_test, y_test = _samples(arrays["x_test"]), _labels(arrays["y_test"])
    classes = count_classes(y)
    if "x_val" in arrays and "y_val" in arrays:
        x_val, y_val = _samples(arrays["x_val"]), _labels(arrays["y_val"])
    else:
        kept = max(1, len(x) // 10)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        x, y = x[order], y[order]
        x, x_val, y, y_val = x[kept:], x[:kept], y[kept:], y[:kept]
    if box is None:
        everything = [x, x_val, x_test]
        box = (min(float(a.min()) for a in everything), max(float(a.max()) for a in everything))
    return Splits(f"npz:{path}", x, y, x_val, y_val, x_test, y_test, box, classes)


def _read_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    needed = ("x_train", "y_train", "x_test", "y_test")
    if path.exists() and not path.is_file():  # a folder, or a pipe, which would be waited for
        raise DataError(f"{path} is no plain file. Give an npz file.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except Exception as error:  # a damaged archive raises many kinds
        raise DataError(f"{path} cannot be read as an npz file of plain arrays ({error}).") from error
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}. It must hold {', '.join(needed)}.")
    for part in ("train", "val", "test"):
        x, y = arrays.get(f"x_{part}"), arrays.get(f"y_{part}")
        if x is not None and x.ndim < 2:
            raise DataError(f"{path}: x_{part} has the shape {x.shape}. Give one row a sample: (samples, features).")
        if y is not None and y.ndim != 1:
            raise DataError(f"{path}: y_{part} has the shape {y.shape}. Give one label a sample: (samples,).")
        if x is not None and y is not None and len(x) != len(y):
            raise DataError(f"{path}: x_{part} has {len(x)} samples but y_{part} has {len(y)} labels.")
        if x is not None and len(x) == 0:
            raise DataError(f"{path}: x_{part} is empty. Give at least one sample.")
    return arrays


def _samples(array: NDArray[np.generic]) -> Tensor:
    if array.dtype.kind not in "fiu":
        raise DataError(f"Samples of type {array.dtype} are not numbers. Encode them as floating point.")
    x = torch.from_numpy(array.astype(np.float32))
    if not torch.isfinite(x).all():
        raise DataError("The samples hold NaN or infinite values. Remove or impute them first.")
    return x


def _labels(array: NDArray[np.generic]) -> Tensor:
    if array.dtype.kind not in "iu":
        raise DataError(f"Labels of type {array.dtype} must be whole numbers 0..K-1. Encode them as integers.")
    return torch.from_numpy(array.astype(np.int64))


SOURCES: dict[str, Callable[[Path | None], Splits]] = {"digits": _digits, "fashion-mnist": _fashion_mnist}
