"""Folders of images, one for each class."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from holomorph.data.augmentation import CropFlip
from holomorph.data.sources.base import DataRequest, divide, images_of
from holomorph.data.splits import Splits
from holomorph.errors import ConfigError, DataError, MissingExtraError

#: Endings of the files that are taken for images; others are passed over.
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")

_PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]


def read_image_folder(asked: DataRequest) -> Splits:
    """Read ``train``, ``val`` and ``test`` with a folder for each class, or folders of classes that are split here.

    Without ``val`` a tenth of the training images is for validation, without ``test`` a fifth is for testing, each by
    class. Images have the size of the first one, or ``size=PIXELS``, to which they are scaled; grey images stay grey
    if all are. Training images are cropped and mirrored, unless ``flip=no``.
    """
    folder = asked.file()
    parts = {part: found for part, words in _PARTS.items() if (found := _subfolder(folder, words)) is not None}
    names = class_names(parts.get("train") or next(iter(parts.values()), folder))
    size = size_asked(asked)
    if not parts:
        arrays = _divided("test", {"train": read_classes(folder, names, size)}, 0.2)
    else:
        arrays = {part: read_classes(found, names, size) for part, found in parts.items()}
        check_sizes(asked, arrays)
    if "train" in arrays and "val" not in arrays:
        arrays = _divided("val", arrays, 0.1)
    return as_splits(asked, arrays, names, flip=asked.choice("flip", ("yes", "no")) == "yes")


def as_splits(asked: DataRequest, arrays: dict[str, Images], names: tuple[str, ...], *, flip: bool = True) -> Splits:
    """Arrays of images by part as a data set; missing parts are empty."""
    parts = {part: (images_of(x), torch.from_numpy(y)) for part, (x, y) in arrays.items()}
    height = next(iter(parts.values()))[0].shape[2]
    augment = CropFlip(padding=max(1, height // 8), flip=flip)
    return Splits.of(asked.text, parts, (0.0, 1.0), len(names), names, augment)


def class_names(folder: Path) -> tuple[str, ...]:
    """The names of a folder's own folders, in order."""
    names = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if len(names) < 2:
        raise DataError(f"{folder} holds {len(names)} folders of images. Give one folder for each class, at least two.")
    return names


def read_classes(folder: Path, names: tuple[str, ...], size: int | None) -> Images:
    """Read every image of every class, scaled to one size."""
    unknown = set(class_names(folder)) - set(names)
    if unknown:
        raise DataError(f"{folder} has the class {min(unknown)!r}, which the training images lack.")
    images, labels = [], []
    for label, name in enumerate(names):
        files = sorted(path for path in (folder / name).glob("*") if path.suffix.lower() in ENDINGS)
        images += files
        labels += [label] * len(files)
    if not images:
        raise DataError(f"There are no images in the folders of {folder}. Known endings: {', '.join(ENDINGS)}.")
    mixed = np.random.default_rng(0).permutation(len(images))  # the first n samples are then of all classes
    return in_one_size(_opened([images[k] for k in mixed]), size), np.array(labels, np.int64)[mixed]


def _opened(files: list[Path]) -> Iterator[Any]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtraError("Pillow", "images") from error
    for file in files:
        try:
            with Image.open(file) as image:
                image.load()
                yield image
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"{file} cannot be read as an image ({error}). Remove or replace it.") from error


def in_one_size(images: Iterable[Any], size: int | None) -> NDArray[np.uint8]:
    """The pixels of Pillow's images, in the size of the first or the one given; grey ones stay so if all are."""
    loaded, shape = [], (size, size) if size else None
    for image in images:
        pixels = image if image.mode in ("L", "RGB") else image.convert("RGB")
        shape = shape or pixels.size
        loaded.append(np.asarray(pixels if pixels.size == shape else pixels.resize(shape)))
    if any(pixels.ndim == 3 for pixels in loaded):
        loaded = [pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2) for pixels in loaded]
    return np.stack(loaded)


def size_asked(asked: DataRequest) -> int | None:
    """The setting ``size=PIXELS``."""
    text = asked.settings.get("size")
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"size is {text!r}; give a number of pixels, for instance size=64.")
    return int(text)


def _subfolder(folder: Path, words: tuple[str, ...]) -> Path | None:
    return next((folder / word for word in words if (folder / word).is_dir()), None)


def _divided(part: str, arrays: dict[str, Images], share: float) -> dict[str, Images]:
    """Take a share of the training images for another part."""
    x, y = arrays["train"]
    kept, held = divide(y, share)
    return {**arrays, "train": (x[kept], y[kept]), part: (x[held], y[held])}


def check_sizes(asked: DataRequest, arrays: dict[str, Images]) -> None:
    """Refuse parts whose images differ in size."""
    shapes = {part: x.shape[1:] for part, (x, _) in arrays.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{part} {shape}" for part, shape in shapes.items())
        named = asked.text.partition("?")[0]
        raise DataError(f"The parts have images of different shapes: {told}. Give one size: {named}?size=PIXELS.")
