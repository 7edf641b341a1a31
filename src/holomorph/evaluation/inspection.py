"""What has to be known of a model before attacks are chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from holomorph._utils.memory import halving
from holomorph.contract import check_labels
from holomorph.contract.classifier import Classifier
from holomorph.errors import ModelError
from holomorph.evaluation.behaviour import Behaviour

#: Samples looked at.
FEW = 128


@dataclass(frozen=True)
class Inspection:
    """Number of classes, and how the model behaves on a few samples.

    ``spread`` is the largest relative change of a sample's logits between five passes, ``zero_gradients`` the
    share of samples whose cross-entropy gradient is exactly zero in every coordinate (None: no gradient at all);
    ``behaviour`` says whether earlier questions, or the rest of a batch, change the logits.
    """

    classes: int
    spread: float
    zero_gradients: float | None
    behaviour: Behaviour = field(default_factory=Behaviour)

    @property
    def randomised(self) -> bool:
        """Passes differ by more than rounding."""
        return self.spread > 1e-4

    @property
    def differentiable(self) -> bool:
        """Whether the output depends differentiably on the input."""
        return self.zero_gradients is not None

    @property
    def masked(self) -> bool:
        """Whether gradient attacks have nothing to go by on more than one sample in a hundred."""
        return self.zero_gradients is None or self.zero_gradients > 0.01


def examine(classifier: Classifier, x: Tensor, y: Tensor) -> Inspection:
    """Look at a few samples.

    Raises
    ------
    ModelError
        For outputs that are not finite.
    DataError
        For labels that the model has no output for.
    """
    few, labels = x[:FEW], y[:FEW]
    passes = [classifier.logits(few) for _ in range(5)]
    first = passes[0]
    if not first.isfinite().all():
        raise ModelError("The model returns NaN or infinite logits on clean samples. Check its weights and scaling.")
    if first.shape[1] < 2:
        raise ModelError("The model has one class only.")
    check_labels(y, first.shape[1])
    scale = first.norm(dim=1).clamp_min(1e-12)
    spread = max(float(((other - first).norm(dim=1) / scale).max()) for other in passes[1:])
    return Inspection(first.shape[1], spread, zero_gradient_share(classifier, few, labels))


def zero_gradient_share(classifier: Classifier, x: Tensor, y: Tensor) -> float | None:
    """Share of samples with an exactly zero gradient of the cross-entropy; None where there is no gradient."""
    if not classifier.differentiable:
        return None
    zeros = halving(lambda a, b: _zeros(classifier, a, b), x, y)
    return None if zeros.isnan().any() else float(zeros.mean())


def _zeros(classifier: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """1 where the gradient is zero, 0 where it is not, NaN where there is none; shape (batch,)."""
    with torch.enable_grad():
        point = x.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(classifier(point), y, reduction="sum")
        gradient: Tensor | None = None
        if loss.requires_grad:
            gradient = torch.autograd.grad(loss, point, allow_unused=True)[0]
    if gradient is None:
        return torch.full((len(x),), torch.nan, dtype=torch.float64)
    return (gradient.flatten(1).abs().amax(1) == 0).double()
