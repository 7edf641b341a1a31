"""A data set in its three parts, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from holomorph._utils.fingerprint import digest
from holomorph.contract import as_long, check_batch, check_labels
from holomorph.contract.data import as_tensor
from holomorph.data.augmentation import Augment
from holomorph.errors import DataError
from holomorph.threats.features import Features
from holomorph.threats.written import written_features


@dataclass(frozen=True)
class Splits:
    """Training, validation and test samples with labels 0..K-1, and the box their coordinates live in.

    Samples of uint8 stay so in memory, 0 to 255 standing for the whole box; :meth:`part` and the batches of training
    are floating point. A part that the data set lacks is empty.

    Attributes
    ----------
    names:
        Names of the classes in the order of the labels; empty where they have none.
    augment:
        What training does to its batches, if anything.
    features:
        Names of the columns of a table.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
    box: tuple[float, float]
    classes: int
    names: tuple[str, ...] = ()
    augment: Augment | None = None
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in ("train", "val", "test"):
            x, y = as_tensor(getattr(self, f"x_{part}"), "samples"), getattr(self, f"y_{part}")
            object.__setattr__(self, f"x_{part}", x)
            if x.shape[1:] != self.shape:
                raise DataError(f"The {part} samples have shape {tuple(x.shape[1:])}, the others {tuple(self.shape)}.")
            if len(x) == len(y) == 0:
                continue
            check_batch(as_input(x[:1], self.box) if x.dtype == torch.uint8 else x, None, box=self.box)
            if len(x) != len(y):
                raise DataError(f"There are {len(x)} {part} samples but {len(y)} labels. Give one label a sample.")
            check_labels(y, self.classes)
            object.__setattr__(self, f"y_{part}", as_long(y))

    @classmethod
    def of(
        cls,
        name: str,
        parts: Mapping[str, tuple[Tensor, Tensor]],
        box: tuple[float, float],
        classes: int,
        names: tuple[str, ...] = (),
        augment: Augment | None = None,
        features: tuple[str, ...] = (),
    ) -> Splits:
        """Make a data set of the parts that there are; the others are empty.

        >>> x, y = torch.rand(4, 2), torch.tensor([0, 1, 0, 1])
        >>> len(Splits.of("mine", {"test": (x, y)}, (0.0, 1.0), 2).x_train)
        0
        """
        example, labels = next(iter(parts.values()))
        nothing = (example[:0], labels[:0])
        train, val, test = (parts.get(part, nothing) for part in ("train", "val", "test"))
        return cls(name, *train, *val, *test, box, classes, names, augment, features)

    def features_of(self, text: str) -> Features:
        """What may change, as written for these columns; see :func:`~holomorph.threats.written.written_features`."""
        return written_features(text, self.features, torch.cat([self.x_train, self.x_val, self.x_test]))

    def part(self, name: str) -> tuple[Tensor, Tensor]:
        """Samples, as floating point, and labels of ``"train"``, ``"val"`` or ``"test"``.

        Raises
        ------
        DataError
            If the data set has no such part.
        """
        x, y = getattr(self, f"x_{name}"), getattr(self, f"y_{name}")
        if len(x) == 0:
            raise DataError(f"The data set {self.name} has no {name} samples.")
        return as_input(x, self.box), y

    def among(self, labels: Sequence[Sequence[str]]) -> Splits:
        """The same samples, their labels counted as a model counts its classes, whose names (and synonyms) these are.

        Without names on either side, and for as many classes of other names, the order of the classes is taken to be
        the same.

        Raises
        ------
        DataError
            For a class that the model does not know.

        >>> x, y = torch.rand(2, 4), torch.tensor([0, 1])
        >>> Splits.of("pets", {"test": (x, y)}, (0.0, 1.0), 2, ("cat", "dog")).among([["fox"], ["dog"], ["cat"]]).y_test
        tensor([2, 1])
        """
        places = {_spelled(word): place for place, words in enumerate(labels) for word in words}
        found = [places.get(_spelled(name), -1) for name in self.names]
        if not found or not labels or (min(found) < 0 and len(labels) == self.classes):
            return self
        if min(found) < 0:
            raise DataError(
                f"{self.names[found.index(-1)]!r} is none of the {len(labels)} classes of the model. Name them as it "
                f"does, for instance {labels[0][-1]!r}, or give it as many outputs: ?classes={self.classes}."
            )
        order = torch.tensor(found)
        train, val, test = (order[y] for y in (self.y_train, self.y_val, self.y_test))
        names = tuple(words[-1] for words in labels)
        return replace(self, y_train=train, y_val=val, y_test=test, classes=len(labels), names=names)

    @cached_property
    def digest(self) -> str:
        """What tells these samples and labels from all others, sixteen hexadecimal digits."""
        parts = (self.x_train, self.y_train, self.x_val, self.y_val, self.x_test, self.y_test)
        return digest(*parts)[:16]

    @property
    def shape(self) -> torch.Size:
        """Shape of one sample."""
        return self.x_train.shape[1:]


def _spelled(name: str) -> str:
    return name.lower().replace("_", " ")


def as_input(x: Tensor, box: tuple[float, float]) -> Tensor:
    """Map uint8 from 0..255 to the box; floating point is left as it is.

    >>> as_input(torch.tensor([0, 255], dtype=torch.uint8), (0.0, 1.0))
    tensor([0., 1.])
    """
    return x if x.dtype != torch.uint8 else x.float().div_(255).mul_(box[1] - box[0]).add_(box[0])


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
