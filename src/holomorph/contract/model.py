"""A model as somebody else's thing: it is called with storage of our own, and its modes come back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from holomorph._utils.memory import out_of_memory
from holomorph.contract.outputs import are_probabilities, logits_of
from holomorph.errors import DataError, HolomorphError, HolomorphWarning, ModelError

#: A differentiable map from a batch of inputs to a batch of outputs: an ``nn.Module`` or a function.
Differentiable = Callable[[Tensor], Tensor]

Module = TypeVar("Module", bound=nn.Module)

#: The types that inputs are converted to; others are those of weights that are stored in fewer bits.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Guest(nn.Module):
    """Any classifier as a function from inputs in their box to logits (batch, classes).

    The model gets a copy of the inputs in its own precision, so that one that works in place changes nothing that
    anybody holds; the copy carries gradients on. Outputs are read by :func:`~holomorph.contract.outputs.logits_of`.

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
        if not callable(model):
            raise ModelError(
                f"The model is {type(model).__name__}, neither a module nor a function. Give a classifier."
            )
        self.model = model
        self.highest = highest
        self.classes: int | None = None
        self._precision = precision(model)
        self.training = bool(getattr(model, "training", True))  # what a function does at random is not known

    def __getattr__(self, name: str) -> Any:
        """Find what the model has, so that a rule may ask for its parts."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):  # how it is copied or pickled is no matter of the model's
                raise
            return getattr(super().__getattr__("model"), name)

    def train(self, mode: bool = True) -> Guest:
        """Set the mode of every module; exported ones refuse to be told."""
        for module in self.modules():
            module.training = mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        try:
            outputs = self.model(self._copied(x))
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

    def _copied(self, x: Tensor) -> Tensor:
        if self._precision is None or not x.is_floating_point() or x.dtype == self._precision:
            return x.clone()
        return x.to(self._precision)


def precision(model: Differentiable) -> torch.dtype | None:
    """The floating point type of most of a module's parameters; None where there are none.

    >>> precision(nn.Linear(2, 2).half())
    torch.float16
    """
    sizes: dict[torch.dtype, int] = {}
    for parameter in model.parameters() if isinstance(model, nn.Module) else ():
        if parameter.dtype in _FLOATS:
            sizes[parameter.dtype] = sizes.get(parameter.dtype, 0) + parameter.numel()
    return max(sizes, key=lambda dtype: sizes[dtype]) if sizes else None


def suited(model: Differentiable, values: Tensor) -> Tensor:
    """Move values to the model's device and, where both are floating point, to its precision, single at least.

    A model in half precision gets its inputs from a :class:`Guest`; distances and radii
    need the digits of single precision.
    """
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    dtype = precision(model)
    if dtype is not None and values.is_floating_point():
        values = values.to(torch.promote_types(dtype, torch.float32))
    elif values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    return values if first is None else values.to(first.device)


class FixedBatch(nn.Module):
    """A model that takes one number of samples only, as a function of any number: what is missing is filled up.

    >>> FixedBatch(lambda x: x + torch.zeros(4, 2), 4)(torch.ones(6, 2)).shape
    torch.Size([6, 2])
    """

    def __init__(self, model: Differentiable, size: int) -> None:
        super().__init__()
        self.model, self.size = model, size
        self.differentiable = getattr(model, "differentiable", True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of all samples."""
        missing = -len(x) % self.size
        filled = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])
        parts = [logits_of(self.model(part), self.size) for part in torch.split(filled, self.size)]
        return torch.cat(parts)[: len(x)]


def accepted_batch(model: Differentiable, x: Tensor, batch_size: int | None) -> int | None:
    """The one number of samples that a model takes, ``batch_size``; None if it takes any.

    Raises
    ------
    ModelError
        If the model does not take such samples.
    """
    if isinstance(model, nn.Module) and any(parameter.is_inference() for parameter in model.parameters()):
        raise ModelError(_MADE_WITHOUT)
    failure: Exception | None = None
    for size in (3, batch_size):
        if size is None:
            continue
        repeated = x[torch.arange(size, device=x.device) % len(x)]
        with evaluating(Guest(model)) as guest, torch.no_grad(), torch.random.fork_rng(devices=[]):
            try:
                guest(repeated)
            except HolomorphError:
                raise
            except Exception as error:  # whatever a user's forward raises
                if out_of_memory(error):
                    return None  # fewer samples will do
                failure = failure or error
            else:
                return None if failure is None else size
    reason = (str(failure).splitlines() or [type(failure).__name__])[0].rstrip(".")
    raise ModelError(
        f"The model cannot take samples of shape {tuple(x.shape[1:])}: {reason}. "
        + (CHANNELS_FIRST if channels_seem_last(x.shape[1:]) else _ONE_NUMBER)
    ) from failure


#: What to do about images whose channels come last.
CHANNELS_FIRST = (
    "It looks like (height, width, channels): put the channels first, x.transpose(0, 3, 1, 2) for an array, "
    "x.permute(0, 3, 1, 2) for a tensor, npz:PATH?channels=last for a file."
)

_ONE_NUMBER = "If it takes one number of samples only, give that as the batch size."


def channels_seem_last(shape: Sequence[int]) -> bool:
    """Whether the shape of a sample looks like that of an image as (height, width, channels).

    >>> channels_seem_last((28, 28, 1)), channels_seem_last((3, 32, 32)), channels_seem_last((22, 250, 1))
    (True, False, False)
    """
    if len(shape) != 3 or shape[2] not in (1, 3, 4):
        return False
    small, large = sorted(shape[:2])
    return small > 4 and large <= 4 * small  # longer ones are signals of several channels


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
    only = accepted_batch(model, x, batch_size)
    with evaluating(Guest(model if only is None else FixedBatch(model, only))) as guest, torch.no_grad():
        logits: Tensor = guest(x[:4])
    if logits.shape[1] < classes:
        raise ModelError(f"The model has {logits.shape[1]} outputs for {classes} classes. Give it one logit a class.")
    if are_probabilities(logits):
        warnings.warn(
            "The model's outputs are probabilities (each row sums to 1). Return logits: leave the softmax out.",
            HolomorphWarning,
            stacklevel=3,
        )
    return logits


def own(model: Differentiable) -> Differentiable:
    """The user's model behind a :class:`Guest`, the model itself where there is none."""
    return model.model if isinstance(model, Guest) else model


@contextmanager
def evaluating(model: Module) -> Iterator[Module]:
    """Put every module into evaluation mode, and each one back into its own mode afterwards.

    Modes are attributes here: an exported module refuses ``eval()``.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield model
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
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    except RuntimeError as error:
        said = next((sentence for words, sentence in _NO_GRADIENT.items() if words in str(error)), None)
        if said is None:
            raise
        raise ModelError(said) from error


_MADE_WITHOUT = (
    "The model holds tensors that were made under torch.inference_mode, through which no gradient goes. "
    "Make the model outside of it."
)

#: What torch says where a model lets no gradient through, and what its owner can do.
_NO_GRADIENT = {
    "Inference tensors cannot be saved": _MADE_WITHOUT,
    "use_reentrant=True": (
        "The model checkpoints its gradients with use_reentrant=True, which gives none of the input. "
        "Write checkpoint(..., use_reentrant=False)."
    ),
}


def usable(values: Tensor) -> Tensor:
    """The values, or a copy where they were made under ``inference_mode``, which forbids gradients for ever."""
    return values.clone() if values.is_inference() else values


def plain(values: Tensor) -> Tensor:
    """The :func:`usable` values without history."""
    return usable(values).detach()
