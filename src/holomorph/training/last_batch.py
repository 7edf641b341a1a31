"""The last batch of a loader: a single sample has no variance, which BatchNorm needs."""

from collections.abc import Sized
from typing import Any

from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from holomorph.errors import DataError


def batch_size_of(train: Any, batch_size: int) -> int:
    """The number of samples a step: that of the loader, if there is one.

    >>> batch_size_of(DataLoader([1, 2, 3], batch_size=2), 64)
    2
    """
    return train.batch_size if isinstance(train, DataLoader) and train.batch_size else batch_size


def check_whole_batches(train: Any, samples: int, only: int | None) -> int | None:
    """Refuse an incomplete last batch where the model takes ``only`` so many samples at once.

    Raises
    ------
    DataError
        With the remedies.

    >>> check_whole_batches(None, 50, 8)
    Traceback (most recent call last):
    holomorph.errors.DataError: The model takes 8 samples at once, which do not divide the 50 there are. Give a ...
    """
    if only is not None and samples % only and not (isinstance(train, DataLoader) and train.drop_last):
        raise DataError(
            f"The model takes {only} samples at once, which do not divide the {samples} there are. "
            "Give a DataLoader with drop_last=True, or leave some samples out."
        )
    return only


def check_last_batch(train: Any, batch_size: int, model: nn.Module) -> None:
    """Refuse a loader or a data set whose last batch holds one sample, if a BatchNorm layer would fail on it.

    Of tensors the last sample joins the batch before; what a loader yields is its owner's.

    Raises
    ------
    DataError
        With the remedies.
    """
    data = train.dataset if isinstance(train, DataLoader) else train
    if not isinstance(data, Dataset) or isinstance(data, IterableDataset) or not isinstance(data, Sized):
        return
    if isinstance(train, DataLoader) and (train.drop_last or train.batch_size is None):
        return
    size = batch_size_of(train, batch_size)
    learns = any(isinstance(part, nn.BatchNorm1d) and (part.training or not model.training) for part in model.modules())
    if learns and len(data) > size and len(data) % size == 1:
        raise DataError(
            f"The last of the batches of {size} holds a single sample of {len(data)}, which BatchNorm cannot use. "
            "Give another batch size, or a loader with drop_last=True."
        )
