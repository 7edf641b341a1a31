"""Data sets saved on the disk by the datasets library of Hugging Face."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holomorph.data.sources import folders, tables
from holomorph.data.sources.base import DataRequest, divide
from holomorph.data.splits import Splits
from holomorph.errors import DataError, MissingExtraError

SAVED_SETTINGS = ("target", "categories", "missing", "flip", "size")

_PARTS = {"train": "train", "validation": "val", "val": "val", "test": "test"}


def read_saved(asked: DataRequest) -> Splits:
    """Read what ``save_to_disk`` wrote: a data set, or a dictionary of splits named train, validation and test.

    With a column of images the samples are images and the settings those of ``folder``; else the rows are a table,
    and the settings those of ``csv``. A column of class labels gives the class names.
    """
    path = asked.file()
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", "huggingface") from error
    try:
        found = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} holds no saved data set ({str(error).splitlines()[0]}).") from error
    parts = {_PARTS.get(key, key): part for key, part in found.items()} if hasattr(found, "items") else {"all": found}
    unknown = sorted(set(parts) - {"train", "val", "test", "all"})
    if unknown:
        raise DataError(f"{path} has a split {unknown[0]!r}. Name the splits train, validation and test.")
    features = next(iter(parts.values())).features
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    if images:
        return _images(asked, parts, images[0])
    frames = {part: _named(data, features) for part, data in parts.items()}
    return tables.splits_of_table(asked, frames)


def _images(asked: DataRequest, parts: dict[str, Any], column: str) -> Splits:
    features = next(iter(parts.values())).features
    wanted = asked.settings.get("target")
    target = wanted or next((name for name, kind in features.items() if hasattr(kind, "names")), None)
    if target is None or target not in features:
        known = ", ".join(features)
        raise DataError(f"{asked.path} has no column of class labels. Give ?target=COLUMN, one of: {known}.")
    names, labels = _labels({part: list(data[target]) for part, data in parts.items()}, features[target], target)
    size = folders.size_asked(asked)
    arrays = {part: (folders.in_one_size(data[column], size), labels[part]) for part, data in parts.items()}
    folders.check_sizes(asked, arrays)
    if "all" in arrays:
        arrays["train"] = arrays.pop("all")
    for part, share in (("test", 0.2), ("val", 0.1)):
        if part not in arrays and "train" in arrays:
            x, y = arrays["train"]
            kept, held = divide(y, share)
            arrays["train"], arrays[part] = (x[kept], y[kept]), (x[held], y[held])
    return folders.as_splits(asked, arrays, names, flip=asked.choice("flip", ("yes", "no")) == "yes")


def _labels(
    found: dict[str, list[Any]], feature: Any, target: str
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """The class names, and the labels as their places: words, and numbers that do not count from 0, have places too."""
    values = sorted({label for part in found.values() for label in part if label is not None}, key=str)
    if any(label is None or label == -1 for part in found.values() for label in part):
        raise DataError(f"The column {target!r} has samples without a label. Leave them out.")
    if getattr(feature, "names", None):
        return tuple(feature.names), {part: np.asarray(labels, np.int64) for part, labels in found.items()}
    values = sorted(values) if all(isinstance(value, int) for value in values) else values
    place = {value: number for number, value in enumerate(values)}
    return tuple(map(str, values)), {
        part: np.array([place[label] for label in labels], np.int64) for part, labels in found.items()
    }


def _named(data: Any, features: Any) -> Any:
    """A data frame whose class labels are their names."""
    frame = data.to_pandas()
    for name, kind in features.items():
        if hasattr(kind, "int2str"):
            frame[name] = [kind.int2str(int(value)) for value in frame[name]]
    return frame
