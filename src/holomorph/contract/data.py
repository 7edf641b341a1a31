"""What is asked of samples and labels, wherever they come in."""

from __future__ import annotations

import torch
from torch import Tensor

from holomorph.errors import DataError


def check_batch(x: Tensor, y: Tensor | None = None, *, box: tuple[float, float] | None = None) -> None:
    """Refuse inputs that no rule and no attack can use, with a sentence that says what to do.

    Raises
    ------
    DataError
        For empty data, integers, what is no tensor, NaN or infinities, values outside the box, or mismatched labels.
    """
    for what, values in (("samples", x), ("labels", y)):
        if values is not None and not isinstance(values, Tensor):
            raise DataError(f"The {what} are {type(values).__name__}, not a tensor. Convert them with torch.as_tensor.")
    if x.ndim == 0 or len(x) == 0:
        raise DataError("There are no samples. Give a batch with at least one.")
    if not x.is_floating_point() and not x.is_complex():
        raise DataError(f"The samples are {x.dtype}; gradients need floating point. Convert with x.float().")
    if not torch.isfinite(x).all():
        raise DataError("The samples hold NaN or infinite values. Remove or impute them first.")
    if box is not None and not x.is_complex():
        _check_range(x, box)
    if y is not None and len(y) != len(x):
        raise DataError(f"There are {len(x)} samples but {len(y)} labels. Give one label a sample.")


def as_long(y: Tensor) -> Tensor:
    """Widen whole numbers to 64 bits, which losses ask of labels; what is no label is left for others to refuse.

    >>> as_long(torch.tensor([0, 2], dtype=torch.uint8))
    tensor([0, 2])
    """
    return y if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool else y.long()


def _check_range(x: Tensor, box: tuple[float, float]) -> None:
    low, high = float(x.min()), float(x.max())
    slack = 1e-6 * max(1.0, box[1] - box[0])  # resizing and casting leave values such as -3e-8
    if low < box[0] - slack or high > box[1] + slack:
        hint = " Divide 8-bit images by 255." if 1.5 < high <= 255 and box == (0.0, 1.0) else ""
        raise DataError(
            f"The samples range over [{low:g}, {high:g}], outside the box [{box[0]:g}, {box[1]:g}].{hint} "
            f"Scale the data or state their box."
        )
