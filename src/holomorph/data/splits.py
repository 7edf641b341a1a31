"""A data set in its three parts, checked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from holomorph.contract import as_long, check_batch
from holomorph.errors import DataError


@dataclass(frozen=True)
class Splits:
    """Training, validation and test samples with labels 0..K-1, and the box their coordinates live in."""

    name: str
    x_train: Tensor
    y_train: Tensor
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
    box: tuple[float, float]
    classes: int

    def __post_init__(self) -> None:
        for part in ("train", "val", "test"):
            x, y = self.part(part)
            check_batch(x, y, box=self.box)
            check_labels(y, self.classes)
            object.__setattr__(self, f"y_{part}", as_long(y))
            if x.shape[1:] != self.shape:
                raise DataError(f"The {part} samples have shape {tuple(x.shape[1:])}, the others {tuple(self.shape)}.")

    def part(self, name: str) -> tuple[Tensor, Tensor]:
        """Samples and labels of ``"train"``, ``"val"`` or ``"test"``."""
        return getattr(self, f"x_{name}"), getattr(self, f"y_{name}")

    @property
    def shape(self) -> torch.Size:
        """Shape of one sample."""
        return self.x_train.shape[1:]


def check_labels(y: Tensor, classes: int | None = None) -> int:
    """Return the number of classes, after refusing labels that are not whole numbers 0..K-1.

    >>> check_labels(torch.tensor([0, 2, 1]))
    3
    """
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool or y.ndim != 1:
        raise DataError(f"Labels must be one whole number a sample, not {y.dtype} of shape {tuple(y.shape)}.")
    if len(y) == 0:
        raise DataError("There are no labels. Give one a sample.")
    low, high = int(y.min()), int(y.max())
    if low < 0 or (classes is not None and high >= classes):
        top = f"{classes - 1}" if classes is not None else "K-1"
        hint = " They seem to start at 1: subtract 1." if low == 1 and high == classes else ""
        raise DataError(f"Labels range over {low}..{high}; they must lie in 0..{top}.{hint}")
    if classes is None and low == high:
        raise DataError(f"All labels are {low}: there is one class only. A classifier needs at least two.")
    return high + 1 if classes is None else classes


def count_classes(y: Tensor) -> int:
    """Return the number of classes of training labels, each of which must occur: a network is built for as many.

    Raises
    ------
    DataError
        For labels that are not 0..K-1, or leave one of them out.

    >>> count_classes(torch.tensor([0, 2, 1]))
    3
    """
    classes, present = check_labels(y), set(y.tolist())
    if len(present) < classes:
        absent = next(k for k in range(classes) if k not in present)
        seem = absent == 0 and len(present) == classes - 1
        hint = "They seem to start at 1: subtract 1." if seem else f"Number the classes 0..{len(present) - 1}."
        raise DataError(f"Labels range up to {classes - 1}, but no training sample has the label {absent}. {hint}")
    return classes
