"""A model as somebody else's thing: it is called with storage of our own, and its modes come back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from holomorph.contract.outputs import are_probabilities, logits_of
from holomorph.errors import DataError, HolomorphWarning, ModelError

#: A differentiable map from a batch of inputs to a batch of outputs: an ``nn.Module`` or a function.
Differentiable = Callable[[Tensor], Tensor]


class Guest(nn.Module):
    """Any classifier as a function from inputs in their box to logits (batch, classes).

    The model gets a copy of the inputs, so that one that works in place changes nothing that anybody holds; the copy
    carries gradients on. Outputs are read by :func:`~holomorph.contract.outputs.logits_of`.

    Parameters
    ----------
    model:
        A module or a function.
    highest:
        The highest label of the batch, where it is known: refused if the model has no output for it.

    >>> Guest(lambda x: (x.mul_(2).sum(1), "further"))(torch.ones(1, 2))
    tensor([[-2.,  2.]])
    """

    def __init__(self, model: Differentiable, *, highest: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.highest = highest
        self.classes: int | None = None

    def __getattr__(self, name: str) -> Any:
        """Find what the model has, so that a rule may ask for its parts."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        try:
            outputs = self.model(x.clone())
        except ValueError as error:
            if "Expected more than 1 value per channel" not in str(error):
                raise
            raise ModelError(
                "A BatchNorm layer in training mode was given a single sample, which has no variance. Give batches of "
                "two samples or more (drop_last=True in a loader), or put the layer in evaluation mode."
            ) from None
        logits = logits_of(outputs, len(x), real=not x.is_complex())
        self.classes = logits.shape[1]
        if self.highest is not None and self.highest >= self.classes:
            raise DataError(
                f"The labels run up to {self.highest}, but the model has the classes 0 to {self.classes - 1}. "
                "Number the labels from 0, or give the model one output a class."
            )
        return logits


def check_model(model: Differentiable, x: Tensor, classes: int, *, batch_size: int | None = None) -> Tensor:
    """Run the model on a few samples in evaluation mode and return their logits.

    Parameters
    ----------
    batch_size:
        A number of samples to try where the model does not take a few: some take one number only.

    Raises
    ------
    ModelError
        If the model fails on the samples, or has fewer outputs than classes.

    Warns
    -----
    HolomorphWarning
        If the rows are probabilities: attacks and rules need logits.

    >>> check_model(nn.Linear(2, 3), torch.zeros(4, 2), classes=3).shape
    torch.Size([4, 3])
    """
    guest = Guest(model)
    sizes = dict.fromkeys((min(len(x), 4), min(len(x), batch_size or 4)))
    with evaluating(guest), torch.no_grad():
        for size in sizes:
            try:
                logits: Tensor = guest(x[:size])
                break
            except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
                failure = error
        else:
            reason = (str(failure).splitlines() or [type(failure).__name__])[0].rstrip(".")
            text = f"The model cannot take samples of shape {tuple(x.shape[1:])}: {reason}.{_other_dtype(model, x)}"
            raise ModelError(text) from failure
    if logits.shape[1] < classes:
        raise ModelError(f"The model has {logits.shape[1]} outputs for {classes} classes. Give it one logit a class.")
    if are_probabilities(logits):
        warnings.warn(
            "The model's outputs are probabilities (each row sums to 1). Return logits: leave the softmax out.",
            HolomorphWarning,
            stacklevel=3,
        )
    return logits


def _other_dtype(model: Differentiable, x: Tensor) -> str:
    """The remedy where samples come from NumPy in double precision and the model is in single."""
    weight = next(model.parameters(), x) if isinstance(model, nn.Module) else x
    if weight.dtype == x.dtype:
        return ""
    return f" Its parameters are {weight.dtype}, the samples {x.dtype}: give x.to({weight.dtype})."


def own(model: Differentiable) -> Differentiable:
    """The user's model behind a :class:`Guest`, the model itself where there is none."""
    return model.model if isinstance(model, Guest) else model


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and each one back into its own mode afterwards.

    Modes are attributes here: an exported module refuses ``eval()``.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def gradients() -> Iterator[None]:
    """Let gradients be taken whatever the caller has switched off; serves as a decorator, too.

    >>> with torch.inference_mode(), gradients():
    ...     torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    (True, False)
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield


def plain(values: Tensor) -> Tensor:
    """The values without history; a copy where they were made under ``inference_mode``, which forbids gradients."""
    return values.clone().detach() if values.is_inference() else values.detach()
