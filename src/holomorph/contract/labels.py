"""What labels may be: one class index a sample, or one row of class probabilities."""

import torch
from torch import Tensor

from holomorph.errors import DataError

#: How far a row of probabilities may miss the sum of 1: half precision has three digits.
_SLACK = 1e-2


def as_long(y: Tensor) -> Tensor:
    """Widen whole numbers to 64 bits, which losses ask of labels; what is no class index is left as it is.

    >>> as_long(torch.tensor([0, 2], dtype=torch.uint8))
    tensor([0, 2])
    """
    return y if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool else y.long()


def are_soft(y: Tensor) -> bool:
    """Whether labels have the form of class probabilities, one row a sample."""
    return y.is_floating_point() and y.ndim == 2 and y.shape[1] > 1


def class_indices(y: Tensor) -> Tensor:
    """The class of each sample, of probabilities the most probable.

    >>> class_indices(torch.tensor([[0.2, 0.8]]))
    tensor([1])
    """
    return y.argmax(1) if are_soft(y) else y


def check_form(y: Tensor, *, soft: bool) -> None:
    """Refuse labels whose type and shape are those of neither form, or of probabilities unless they are ``soft``.

    Raises
    ------
    DataError
        With the remedy where the mistake is a known one.
    """
    whole = not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
    if (whole and y.ndim == 1) or (soft and are_soft(y)):
        return
    kinds = "one whole number 0..K-1 a sample" + (", or one row of class probabilities" if soft else "")
    raise DataError(f"The labels are {y.dtype} of shape {tuple(y.shape)}. Give {kinds}.{_remedy(y, whole)}")


def _remedy(y: Tensor, whole: bool) -> str:
    if y.ndim == 2 and y.shape[1] == 1:
        return " For a column write y.squeeze(1)" + ("." if whole else ".long().")
    if y.ndim == 2:
        return " For one-hot rows write y.argmax(1)."
    return " For whole numbers of another type write y.long()." if y.ndim == 1 else ""


def check_range(low: int, high: int, classes: int | None = None) -> None:
    """Refuse class indices outside 0..K-1.

    Raises
    ------
    DataError
        With the remedy where the mistake is a known one.

    >>> check_range(0, 9, classes=10)
    """
    if low >= 0 and (classes is None or high < classes):
        return
    top = "K-1" if classes is None else str(classes - 1)
    hint = ""
    if low == 1 and high == classes:
        hint = " They seem to start at 1: subtract 1."
    elif (low, high) == (-1, 1):
        hint = " Write -1 and 1 as 0 and 1."
    elif low < 0:
        hint = " Leave samples out whose label means that there is none."
    raise DataError(f"The labels run from {low} to {high}; they must lie in 0..{top}.{hint}")


def check_labels(y: Tensor, classes: int | None = None, *, soft: bool = False) -> int:
    """Return the number of classes, after refusing labels that are neither indices nor, if ``soft``, probabilities.

    Without ``classes`` the labels must be of two classes at least, and the highest counts them.

    >>> check_labels(torch.tensor([0, 2, 1]))
    3
    """
    check_form(y, soft=soft)
    if len(y) == 0:
        raise DataError("There are no labels. Give one a sample.")
    if are_soft(y):
        check_probabilities(y)
        return y.shape[1]
    low, high = int(y.min()), int(y.max())
    check_range(low, high, classes)
    if classes is None and low == high:
        raise DataError(f"All labels are {low}: there is one class only. A classifier needs at least two.")
    return high + 1 if classes is None else classes


def count_outputs(y: Tensor, *, whole: bool) -> int:
    """Return how many outputs training labels ask for; of a first batch, which is not the ``whole``, the least number.

    >>> count_outputs(torch.tensor([0, 0]), whole=False), count_outputs(torch.tensor([[0.5, 0.5]]), whole=True)
    (1, 2)
    """
    if whole or are_soft(y):
        return check_labels(y, soft=True)
    check_form(y, soft=True)
    low, high = int(y.min()), int(y.max())
    check_range(low, high)
    return high + 1


def check_probabilities(y: Tensor) -> None:
    """Refuse rows that are no distributions, such as those of several labels at once."""
    check_sums(float(y.min()), float((y.sum(1) - 1).abs().amax()))


def check_sums(least: float, off: float) -> None:
    """Refuse rows of probabilities by their least entry and how far a sum is from 1."""
    if not (least >= 0 and off <= _SLACK):
        raise DataError(
            "The rows of labels are no class probabilities: each must be non-negative and sum to 1. "
            "Several labels for one sample are not supported."
        )
