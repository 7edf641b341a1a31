"""Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 pixels."""

import gzip
import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from holomorph.data.sources.base import DataRequest, images_of
from holomorph.data.splits import Splits
from holomorph.errors import DataError

#: Where Debian's package dataset-fashion-mnist puts the IDX files.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")

_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

_NAMES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "trainer", "bag", "ankle boot")

_THREE_WAYS = (
    "Install Debian's package (apt-get install dataset-fashion-mnist), or give --data-dir FOLDER with the four "
    "IDX files, or go online so that scikit-learn's fetch_openml can download it."
)


def read_fashion_mnist(asked: DataRequest) -> Splits:
    """The last 5,000 training images are for validation."""
    folder = asked.data_dir or DEBIAN
    if asked.data_dir is not None or all(_path(folder, name) for name in _FILES):
        x, y, x_test, y_test = (_read_idx(folder, name) for name in _FILES)
    else:
        x, y, x_test, y_test = _from_openml()
    images, tests = (images_of(a.reshape(-1, 28, 28)) for a in (x, x_test))
    labels, test_labels = (torch.from_numpy(a.astype(np.int64)) for a in (y, y_test))
    training = (images[:-5000], labels[:-5000], images[-5000:], labels[-5000:])
    return Splits(asked.text, *training, tests, test_labels, (0.0, 1.0), 10, _NAMES)


def _path(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    path = _path(folder, name)
    if path is None:
        raise DataError(f"There is no {name}(.gz) in {folder}. {_THREE_WAYS}")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        dimensions = struct.unpack_from(">BBBB", content)[3]
        shape = struct.unpack_from(f">{dimensions}I", content, 4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, struct.error, ValueError) as error:
        raise DataError(f"{path} is not a whole IDX file ({error}). Fetch it again.") from error


def _from_openml() -> tuple[NDArray[np.uint8], ...]:
    from sklearn.datasets import fetch_openml

    try:
        bunch = fetch_openml("Fashion-MNIST", version=1, as_frame=False, parser="liac-arff")
    except Exception as error:  # whatever the network, the proxy or the parser raises: the remedy is the same
        raise DataError(f"Fashion-MNIST was not found. {_THREE_WAYS} (The download failed: {error})") from error
    x, y = bunch.data.astype(np.uint8), bunch.target.astype(np.uint8)
    return x[:60000], y[:60000], x[60000:], y[60000:]
