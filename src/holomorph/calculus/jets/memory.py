"""Writing in place, as an operation that returns a new tensor; and whether two tensors share their memory."""

from typing import Any

from torch import Tensor

from holomorph.calculus.jets.operations import Call
from holomorph.errors import ModelError


def writes(name: str) -> ModelError:
    """The refusal of a write."""
    return ModelError(
        f"{name} writes into a tensor inside a jet, which is not supported. Use an operation that returns a new tensor."
    )


def with_item(index: Any) -> Call:
    """t[index] = new."""

    def write(t: Tensor, new: Tensor) -> Tensor:
        t = t.clone()
        t[index] = new
        return t

    return write


def with_view(view: Call) -> Call:
    """Writing new numbers into a view of t."""

    def write(t: Tensor, new: Tensor) -> Tensor:
        t = t.clone()
        view(t).copy_(new)
        return t

    return write


def shared(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors lie in the same memory."""
    return a.numel() > 0 and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
