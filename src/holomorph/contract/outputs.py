"""What is asked of every classifier: a batch of inputs in, a batch of logits out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from holomorph.errors import HolomorphWarning, ModelError


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and each one back into its own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def check_logits(model: nn.Module, x: Tensor, classes: int) -> Tensor:
    """Run the model on a few samples and return its logits, after refusing what cannot be logits.

    Raises
    ------
    ModelError
        If the model fails on the samples, or returns another shape than (batch, classes).

    Warns
    -----
    HolomorphWarning
        If the rows are probabilities: attacks and rules need logits.

    >>> check_logits(nn.Linear(2, 3), torch.zeros(4, 2), classes=3).shape
    torch.Size([4, 3])
    """
    sample = x[: min(len(x), 4)]
    with evaluating(model), torch.no_grad():
        try:
            logits = model(sample)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            text = f"The model cannot take samples of shape {tuple(x.shape[1:])}: {reason}.{_other_dtype(model, x)}"
            raise ModelError(text) from error
    if not isinstance(logits, Tensor):
        raise ModelError(f"The model returned {type(logits).__name__}, not a tensor of logits. Return the logits only.")
    if logits.ndim != 2 or logits.shape[0] != len(sample) or logits.shape[1] < classes:
        raise ModelError(
            f"The model maps {len(sample)} samples to shape {tuple(logits.shape)}; "
            f"expected ({len(sample)}, {classes}): one logit a class."
        )
    if not logits.is_complex() and are_probabilities(logits):
        warnings.warn(
            "The model's outputs are probabilities (each row sums to 1). Return logits: leave the softmax out.",
            HolomorphWarning,
            stacklevel=3,
        )
    return logits


def _other_dtype(model: nn.Module, x: Tensor) -> str:
    """The remedy where samples come from NumPy in double precision and the model is in single."""
    weight = next(model.parameters(), x)
    if weight.dtype == x.dtype:
        return ""
    return f" Its parameters are {weight.dtype}, the samples {x.dtype}: give x.to({weight.dtype})."


def are_probabilities(outputs: Tensor) -> bool:
    """Whether every row is non-negative and sums to 1.

    >>> are_probabilities(torch.tensor([[0.25, 0.75]])), are_probabilities(torch.tensor([[1.0, 2.0]]))
    (True, False)
    """
    sums = outputs.sum(1)
    return bool((outputs >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
