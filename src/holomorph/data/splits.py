"""A data set in its three parts, checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from holomorph._utils.fingerprint import digest
from holomorph.contract import as_long, check_batch, check_labels
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

    @cached_property
    def digest(self) -> str:
        """What tells these samples and labels from all others, sixteen hexadecimal digits."""
        parts = (self.x_train, self.y_train, self.x_val, self.y_val, self.x_test, self.y_test)
        return digest(*parts)[:16]

    @property
    def shape(self) -> torch.Size:
        """Shape of one sample."""
        return self.x_train.shape[1:]


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
