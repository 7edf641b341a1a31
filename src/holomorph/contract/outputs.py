"""What is asked of a classifier's outputs: a batch of logits, however they are wrapped."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from holomorph.errors import ModelError

#: Stands for the logit -inf: differences of two of them are 0 and not NaN, and squares are finite in single precision.
_MASKED = -1e18


def logits_of(outputs: Any, samples: int, *, real: bool = True) -> Tensor:
    r"""Read logits (samples, classes) from what a model returned.

    Accepted are a tensor, a tuple or list whose first entry is one, and a dict or an object with ``logits``. One
    output z a sample becomes the two logits (-z/2, z/2), so that class 1 is predicted where z > 0. The logit -inf of a
    class that is switched off becomes a finite one whose probability is 0, too. Complex logits are accepted unless they
    must be ``real``, as they must wherever the inputs are.

    Raises
    ------
    ModelError
        For anything else.

    >>> logits_of({"logits": torch.tensor([[1.0, 2.0]])}, 1)
    tensor([[1., 2.]])
    >>> logits_of(torch.tensor([3.0]), 1)
    tensor([[-1.5000,  1.5000]])
    """
    logits = _unwrapped(outputs)
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"The model returned {type(outputs).__name__}, not logits. Return a tensor (batch, classes), a tuple that "
            "begins with it, or a dict or object with 'logits'."
        )
    if logits.is_complex() and real:
        raise ModelError("The model returned complex numbers. Add a read-out that returns real logits.")
    if not logits.is_floating_point() and not logits.is_complex():
        raise ModelError(f"The model returned {logits.dtype}. Return logits, not predicted classes.")
    if logits.ndim == 1:
        logits = logits.unsqueeze(1)
    if logits.ndim != 2 or len(logits) != samples or logits.shape[1] == 0:
        raise ModelError(
            f"The model maps {samples} samples to the shape {tuple(logits.shape)}. "
            "Return one row of logits a sample: (batch, classes)."
        )
    if logits.shape[1] == 1:
        logits = torch.cat([-logits / 2, logits / 2], 1)
    if logits.is_complex():
        return logits
    floor = max(_MASKED, torch.finfo(logits.dtype).min / 4)
    return logits.masked_fill(logits == -torch.inf, floor)


def _unwrapped(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping):
        return outputs.get("logits")
    if hasattr(outputs, "logits"):
        return outputs.logits
    return outputs[0] if isinstance(outputs, tuple | list) and outputs else None


def are_probabilities(outputs: Tensor) -> bool:
    """Whether every row is non-negative and sums to 1.

    >>> are_probabilities(torch.tensor([[0.25, 0.75]])), are_probabilities(torch.tensor([[1.0, 2.0]]))
    (True, False)
    """
    sums = outputs.sum(1)
    return bool((outputs >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
