"""Names of torch's operations, sorted by what a jet does with them, and operations as functions of their jets."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from holomorph.errors import ModelError

#: A torch operation as a function of the tensors that stand where the carriers stood.
Call = Callable[..., Any]

#: Operations linear in their first argument; the others are constants.
LINEAR = frozenset(
    """adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d avg_pool2d avg_pool3d broadcast_to chunk
    clone contiguous cpu cuda cumsum diagonal double dropout expand expand_as flatten flip float fold gather getitem
    index_select interpolate H mH mT T mean moveaxis movedim narrow neg pad permute pixel_shuffle pixel_unshuffle
    positive ravel real repeat repeat_interleave reshape reshape_as roll select split squeeze sum swapaxes swapdims t
    take_along_dim tensor_split tile to trace transpose tril triu type_as unbind unflatten unfold unsqueeze upsample
    view view_as""".split()  # noqa: SIM905
)
#: Linear up to a bias, which only the value gets.
AFFINE = frozenset("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d".split())  # noqa: SIM905
JOINING = frozenset({"cat", "concat", "concatenate", "stack", "hstack", "vstack"})
ADDING = frozenset({"add", "sub", "subtract", "rsub", "radd"})
PRODUCTS = frozenset({"mul", "multiply", "rmul", "matmul", "rmatmul", "mm", "bmm", "mv", "dot", "einsum", "outer"})
QUOTIENTS = frozenset({"div", "divide", "true_divide", "truediv"})
DROPOUTS = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"})
#: What is asked of the value alone and answered with something that carries nothing.
INSPECTING = frozenset(
    """dim element_size empty_like format full_like get_device is_complex is_contiguous is_floating_point len
    ndimension nelement new_empty new_full new_ones new_tensor new_zeros numel ones_like rand_like randn_like repr size
    storage_offset stride str zeros_like""".split()  # noqa: SIM905
)
#: What leads out of torch, where nothing can follow.
LEAVING = frozenset({"numpy", "array", "dlpack"})
#: What shares the memory and leaves the derivatives.
DETACHING = frozenset({"detach", "data"})
#: What changes more of a tensor than its numbers.
REFUSED = frozenset({"set", "backward"})
#: Draws in place, which have no counterpart with a result of its own.
RANDOM = frozenset("normal uniform random bernoulli exponential geometric cauchy log_normal".split())  # noqa: SIM905
_INPLACE_OPERATORS = {
    "iadd": "add",
    "isub": "sub",
    "imul": "mul",
    "itruediv": "div",
    "imatmul": "matmul",
    "ipow": "pow",
}


def name_of(func: Callable[..., Any]) -> tuple[str, bool]:
    """The bare name of an operation, and whether it is a property: Tensor.__add__, torch.add, add_ are all 'add'."""
    name: str = getattr(func, "__name__", str(func))
    if name == "__get__":
        return str(getattr(func.__self__, "__name__", "")), True  # type: ignore[attr-defined]
    return name.strip("_"), False


def in_place(func: Call, kwargs: dict[str, Any]) -> bool:
    """Whether the operation writes into its first argument: add_ (not __add__), +=, or inplace=True."""
    raw = getattr(func, "__name__", "")
    says = raw.endswith("_") and not raw.endswith("__")
    return says or raw.strip("_") in _INPLACE_OPERATORS or bool(kwargs.get("inplace"))


def out_of_place(func: Call, name: str) -> tuple[Call, str]:
    """The operation that returns what this one writes, and its name."""
    if getattr(func, "__module__", "") == "torch.nn.functional" and not func.__name__.endswith("_"):
        return func, name
    name = _INPLACE_OPERATORS.get(name, name)
    if name == "zero":
        return torch.zeros_like, "zeros_like"
    found = getattr(torch, name, None) or getattr(Tensor, name, None) or getattr(F, name, None)
    if found is None:
        raise ModelError(f"{name} in place has no counterpart that returns a new tensor; a jet cannot follow it.")
    return found, name


def without_bias(args: list[Any]) -> list[Any]:
    """The arguments of a layer with None for its bias."""
    return [*args[:2], None, *args[3:]] if len(args) > 2 else args


def is_float(leaf: Any) -> bool:
    """Whether this is a tensor of real numbers, which may have derivatives."""
    return isinstance(leaf, Tensor) and leaf.is_floating_point()
