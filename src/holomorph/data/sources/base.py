"""What a source of data is asked, and the small things that sources share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from holomorph.data.splits import Splits
from holomorph.errors import ConfigError, DataError, unknown_name

Box = tuple[float, float]


@dataclass(frozen=True)
class DataRequest:
    """What the user asked for: ``NAME``, ``NAME:PATH`` or ``NAME:PATH?setting=value&setting=value``.

    Attributes
    ----------
    text:
        The whole text, which becomes the name of the data set.
    path:
        What stands after the colon.
    data_dir:
        The folder of a source that has no path.
    box:
        Range of the coordinates, where the source takes one.
    settings:
        What stands after the question mark.
    """

    text: str
    path: Path | None = None
    data_dir: Path | None = None
    box: Box | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def file(self) -> Path:
        """The path, which must exist.

        Raises
        ------
        DataError
            If nothing is there, or neither a plain file nor a folder.
        """
        if self.path is None or not self.path.exists():
            raise DataError(f"There is nothing at {self.path}. Name an existing file or folder.")
        if not self.path.is_file() and not self.path.is_dir():  # a pipe would be waited for, a device never ends
            raise DataError(f"{self.path} is neither a plain file nor a folder. Save the data into a file first.")
        return self.path

    def choice(self, setting: str, allowed: tuple[str, ...]) -> str:
        """A setting that is one of several words; the first one by default.

        >>> DataRequest("csv:a.csv?missing=drop", settings={"missing": "drop"}).choice("missing", ("refuse", "drop"))
        'drop'
        """
        value = self.settings.get(setting, allowed[0])
        if value not in allowed:
            raise unknown_name(f"value of the setting {setting!r}", value, allowed)
        return value


@dataclass(frozen=True)
class Source:
    """A place where data sets come from.

    Attributes
    ----------
    read:
        From what was asked to the data set.
    takes_path:
        Whether it is written ``NAME:PATH``.
    settings:
        Names that may stand after the question mark.
    """

    read: Callable[[DataRequest], Splits]
    takes_path: bool = False
    settings: tuple[str, ...] = ()

    def check(self, asked: DataRequest, name: str) -> None:
        """Refuse a path or a setting that the source does not take.

        Raises
        ------
        ConfigError
            Saying how the source is written.
        """
        if self.takes_path and asked.path is None:
            raise ConfigError(f"The data set {name!r} needs a path: write {name}:PATH.")
        if not self.takes_path and asked.path is not None:
            raise ConfigError(f"The data set {name!r} takes no path. Write {name}, and its folder with data_dir.")
        for setting in asked.settings:
            if setting not in self.settings:
                raise unknown_name(f"setting of the data set {name!r}", setting, self.settings)


def divide(labels: NDArray[np.int64], share: float, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of a large and a small part that have the classes in equal shares, always the same for equal labels.

    Each class gives the rounded share of its samples, at least one where it has two or more.

    >>> kept, held = divide(np.array([0, 1] * 10), 0.2)
    >>> len(kept), len(held), float(np.array([0, 1] * 10)[held].mean())
    (16, 4, 0.5)
    """
    generator, held = np.random.default_rng(seed), []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(len(members) - 1, max(1, round(share * len(members))))
        held.append(generator.permutation(members)[:count])
    small = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), small), small


def images_of(array: NDArray[np.uint8]) -> torch.Tensor:
    """Images (samples, height, width[, channels]) as a tensor (samples, channels, height, width), still of uint8."""
    tensor = torch.from_numpy(np.array(array))  # a copy that can be written to
    return tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous()
