"""The user's own arrays in an npz file."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holomorph._utils.io import read_npz
from holomorph.data.sources.base import DataRequest, divide
from holomorph.data.splits import Splits, count_classes
from holomorph.errors import DataError

NPZ_SETTINGS = ("channels",)

_PARTS = ("train", "val", "test")


def read_npz_data(asked: DataRequest) -> Splits:
    """Arrays x_train, y_train, x_val, y_val, x_test, y_test: any of the three parts, and ``names`` of the classes.

    Images have their channels first, or with ``?channels=last`` last. Without a validation part a tenth of the training
    samples, by class, is one. uint8 stays uint8 and means [0, 1].
    """
    if asked.path is None or not asked.path.exists():
        raise DataError(f"There is no file {asked.path}.")
    if not asked.path.is_file():  # a folder, or a pipe, which would be waited for
        raise DataError(f"{asked.path} is no plain file. Give an npz file.")
    arrays = _read(asked.path)
    last = asked.choice("channels", ("first", "last")) == "last"
    parts = {
        part: (_samples(_first(arrays[f"x_{part}"]) if last else arrays[f"x_{part}"]), _labels(arrays[f"y_{part}"]))
        for part in _PARTS
        if f"x_{part}" in arrays
    }
    classes = count_classes(parts["train"][1]) if "train" in parts else int(max(y.max() for _, y in parts.values())) + 1
    names = tuple(str(name) for name in arrays.get("names", ()))
    if names and len(names) < classes:
        raise DataError(f"{asked.path} has {classes} classes but {len(names)} names. Give one name a class.")
    if "train" in parts and "val" not in parts:
        x, y = parts["train"]
        kept, held = (torch.from_numpy(index) for index in divide(y.numpy(), 0.1))
        parts["train"], parts["val"] = (x[kept], y[kept]), (x[held], y[held])
    box = asked.box or _box([x for x, _ in parts.values()])
    return Splits.of(asked.text, parts, box, max(classes, len(names)), names)


def _box(samples: list[Tensor]) -> tuple[float, float]:
    if samples[0].dtype == torch.uint8:
        return 0.0, 1.0
    return min(float(x.min()) for x in samples), max(float(x.max()) for x in samples)


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        arrays = read_npz(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an npz file of plain arrays ({error}).") from error
    _check(path, arrays)
    return arrays


def _check(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    if not any(f"x_{part}" in arrays for part in _PARTS):
        raise DataError(
            f"{path} lacks samples. It must hold x_train and y_train to train on, x_test and y_test to test."
        )
    for part in _PARTS:
        x, y = arrays.get(f"x_{part}"), arrays.get(f"y_{part}")
        if (x is None) != (y is None):
            lacking, there = (f"x_{part}", f"y_{part}") if x is None else (f"y_{part}", f"x_{part}")
            raise DataError(f"{path} lacks {lacking}, though it has {there}. Give samples and labels.")
        if x is None or y is None:
            continue
        if x.ndim < 2:
            raise DataError(f"{path}: x_{part} has the shape {x.shape}. Give one row a sample: (samples, features).")
        if y.ndim != 1:
            raise DataError(f"{path}: y_{part} has the shape {y.shape}. Give one label a sample: (samples,).")
        if len(x) != len(y):
            raise DataError(f"{path}: x_{part} has {len(x)} samples but y_{part} has {len(y)} labels.")
        if len(x) == 0:
            raise DataError(f"{path}: x_{part} is empty. Give at least one sample.")


def _first(images: NDArray[np.generic]) -> NDArray[np.generic]:
    """Images (samples, height, width, channels) with their channels first."""
    if images.ndim != 4:
        raise DataError(f"Samples of shape {images.shape} have no channels to move. Leave out ?channels=last.")
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _samples(array: NDArray[np.generic]) -> Tensor:
    if array.dtype.kind not in "fiu":
        raise DataError(f"Samples of type {array.dtype} are not numbers. Encode them as floating point.")
    if array.dtype == np.uint8:
        return torch.from_numpy(array)
    x = torch.from_numpy(array.astype(np.float32))
    if not torch.isfinite(x).all():
        raise DataError("The samples hold NaN or infinite values. Remove or impute them first.")
    return x


def _labels(array: NDArray[np.generic]) -> Tensor:
    if array.dtype.kind not in "iu":
        raise DataError(f"Labels of type {array.dtype} must be whole numbers 0..K-1. Encode them as integers.")
    return torch.from_numpy(array.astype(np.int64))
