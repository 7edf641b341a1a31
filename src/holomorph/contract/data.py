"""What is asked of samples and labels, wherever they come in, and how they are gathered."""

from collections.abc import Iterator, Sequence, Sized
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from holomorph.contract.labels import are_soft, as_long, check_form, check_labels, check_probabilities
from holomorph.contract.model import plain
from holomorph.errors import ConfigError, DataError


@runtime_checkable
class Parts(Protocol):
    """A data set in parts, such as :class:`holomorph.data.Splits`."""

    def part(self, name: str) -> tuple[Tensor, Tensor]:
        """Samples and labels of a part."""
        ...


#: Samples with labels: a pair of tensors or arrays, parts of which the test part is meant, a data set or a loader.
Data = tuple[Any, Any] | Parts | Dataset[Any] | DataLoader[Any]


def check_batch(x: Tensor, y: Tensor | None = None, *, box: tuple[float, float] | None = None) -> None:
    """Refuse inputs that no rule and no attack can use, with a sentence that says what to do.

    Raises
    ------
    DataError
        For empty data, integers, what is no tensor, NaN or infinities, values outside the box, or mismatched labels.
    """
    check_kind(x, y)
    if x.is_complex():
        if not torch.isfinite(x).all():
            raise DataError(_NOT_FINITE)
        return
    low, high = (float(v) for v in torch.aminmax(x.detach()))
    check_extremes(low, high, box)


def check_kind(x: Tensor, y: Tensor | None = None) -> None:
    """The part of :func:`check_batch` that reads no value, so that no device waits."""
    for what, values in (("samples", x), ("labels", y)):
        if values is not None and not isinstance(values, Tensor):
            raise DataError(f"The {what} are {type(values).__name__}, not a tensor. Convert them with torch.as_tensor.")
    if x.ndim == 0 or x.numel() == 0:
        raise DataError("There are no samples. Give a batch with at least one.")
    if not x.is_floating_point() and not x.is_complex():
        eight = " and divide images by 255" if x.dtype == torch.uint8 else ""
        raise DataError(f"The samples are {x.dtype}; gradients need floating point. Convert with x.float(){eight}.")
    if y is not None and len(y) != len(x):
        raise DataError(f"There are {len(x)} samples but {len(y)} labels. Give one label a sample.")


_NOT_FINITE = "The samples hold NaN or infinite values. Remove or impute them first."


def check_extremes(low: float, high: float, box: tuple[float, float] | None) -> None:
    """Refuse samples by their least and greatest value; NaN is both where there is one."""
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(_NOT_FINITE)
    if box is None:
        return
    slack = 1e-6 * max(1.0, box[1] - box[0])  # resizing and casting leave values such as -3e-8
    if low < box[0] - slack or high > box[1] + slack:
        raise DataError(
            f"The samples range over [{low:g}, {high:g}], outside the box [{box[0]:g}, {box[1]:g}]. "
            + _remedy(low, high, box)
        )


def _remedy(low: float, high: float, box: tuple[float, float]) -> str:
    if box == (0.0, 1.0) and low >= 0 and 1.5 < high <= 255:
        return "Divide 8-bit images by 255, or state the box of the data."
    if box[0] >= 0 and low < 0 and max(-low, high) <= 10:
        return (
            "They look normalised: give them as they were before, and begin the model with "
            "holomorph.nn.Normalise(mean, std); or state their box."
        )
    return "Scale the data or state their box."


def check_samples(
    x: Tensor, y: Tensor, *, box: tuple[float, float] | None = None, classes: int | None = None, soft: bool = False
) -> None:
    """All that is asked of samples with labels: :func:`check_batch` and the labels' form and range."""
    check_batch(x, y, box=box)
    check_form(y, soft=soft)
    if are_soft(y):
        check_probabilities(y)
    else:
        check_labels(y, int(y.max()) + 1 if classes is None else classes)


def gather(data: Any, y: Any = None, *, n: int | None = None) -> tuple[Tensor, Tensor]:
    """Turn what a user has into samples and labels: the first n of them, all unless given.

    Parameters
    ----------
    data:
        Samples, with their labels as ``y``; or both as a pair, a data set in parts (the test part is meant), a
        ``Dataset`` or a ``DataLoader``. Samples and labels are tensors, NumPy arrays, data frames or lists.

    Raises
    ------
    DataError
        For anything else, and for batches that are no pairs.
    ConfigError
        For n below 1.

    Examples
    --------
    >>> x, y = gather((np.zeros((3, 2), dtype=np.float32), [0, 1, 0]), n=2)
    >>> x.shape, y
    (torch.Size([2, 2]), tensor([0, 1]))
    """
    if n is not None and n < 1:
        raise ConfigError(f"n is {n}; it must be at least 1.")
    if y is None:
        if isinstance(data, Parts):
            data = data.part("test")
        elif isinstance(data, DataLoader | Dataset):
            data = _drained(data, n)
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise DataError(
                f"Cannot take samples from {_kind(data)}. Give (samples, labels), a Dataset or a DataLoader."
            )
        data, y = data
    x, labels = as_tensor(data, "samples"), as_tensor(y, "labels")
    check_kind(x, labels)
    return plain(x[:n]), as_long(plain(labels[:n]))


def names_of_classes(data: Any) -> tuple[str, ...]:
    """Names of the classes, where a data set has them (``names``, ``classes``)."""
    while hasattr(data, "dataset"):  # a loader, or a part of a data set
        data = data.dataset
    for found in (getattr(data, "names", None), getattr(data, "classes", None)):
        if isinstance(found, Sequence | np.ndarray) and len(found):
            return tuple(str(name) for name in found)
    return ()


def as_tensor(values: Any, what: str) -> Tensor:
    """A tensor of the values, of arrays, frames and lists one that shares or copies their storage.

    Raises
    ------
    DataError
        For values that are no numbers.
    """
    if isinstance(values, Tensor):
        return values
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biufc":
            raise TypeError(f"values of type {array.dtype}")
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:80]
        raise DataError(f"The {what} are not numbers ({reason}). Give a tensor or an array of numbers.") from None


def pairs(batches: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """The batches of a loader as pairs.

    Raises
    ------
    DataError
        For batches of another form.
    """
    for batch in batches:
        if not isinstance(batch, Sequence) or len(batch) != 2:
            raise DataError(f"The loader must yield pairs (samples, labels), not {_kind(batch)}.")
        yield batch[0], batch[1]


def _drained(data: Dataset[Any] | DataLoader[Any], n: int | None) -> tuple[Tensor, Tensor]:
    """The samples of a data set or loader, whose random order leaves the caller's random state alone."""
    if isinstance(data, Dataset):
        if not isinstance(data, IterableDataset) and isinstance(data, Sized) and len(data) == 0:
            raise DataError("The data set is empty. Give at least one sample.")
        data = DataLoader(data, batch_size=256)
    xs, ys, found = [], [], 0
    with torch.random.fork_rng(devices=[]):
        for x, y in pairs(iter(data)):
            xs.append(as_tensor(x, "samples"))
            ys.append(as_tensor(y, "labels"))
            found += len(xs[-1])
            if n is not None and found >= n:
                break
    if not xs:
        raise DataError("The loader yields no batch. Give it at least one sample.")
    return torch.cat(xs), torch.cat(ys)


def _kind(data: Any) -> str:
    size = f" of {len(data)}" if isinstance(data, tuple | list) else ""
    return f"{type(data).__name__}{size}"
