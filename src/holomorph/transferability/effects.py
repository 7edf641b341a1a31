"""What a perturbation does to a target, measured or predicted: the rise of its loss, and misclassification."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from holomorph.contract import Differentiable
from holomorph.explanation.taylor import taylor
from holomorph.records.transfer import Matrix


class Effect(NamedTuple):
    """Of each sample: how much the loss rises, and whether the prediction is wrong afterwards; (batch,)."""

    increase: Tensor
    wrong: Tensor


@torch.no_grad()
def measured(target: Differentiable, x: Tensor, perturbed: Tensor, y: Tensor, before: Tensor | None = None) -> Effect:
    """Run the target on the perturbed inputs; ``before`` is its loss on the samples, if that is known already."""
    if before is None:
        before = cross_entropy(target(x), y, reduction="none")
    after = target(perturbed)
    return Effect(cross_entropy(after, y, reduction="none") - before, after.argmax(1) != y)


def predicted(target: Differentiable, x: Tensor, delta: Tensor, y: Tensor) -> dict[int, Effect]:
    r"""Predict the effect of $\delta$ from the derivatives of the target's logits along it, to order 1 and 2.

    With $h', h''$ the derivatives of the logits along $\delta$, p the probabilities and e the label's unit vector,

    $$\Delta\ell \approx \langle p - e, h'\rangle
    + \tfrac12 \big(\langle p - e, h''\rangle + \operatorname{Var}_p h'\big),$$

    the second term at order 2 only; predictions are those of the logits' own polynomial. Exact at order 1 in the limit
    of small steps; for a linear model the logits are exact at any step.

    Source: docs/mathematics.md, section 7; our derivation.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    >>> x, y = torch.tensor([[0.5, 0.0]]), torch.tensor([0])
    >>> bool(predicted(model, x, torch.tensor([[-0.6, 0.0]]), y)[1].wrong)  # 0.5 - 0.6 < 0
    True
    """
    with torch.no_grad():
        h, first, second = taylor(target, x, delta, 2).unbind(1)  # the last is half the second derivative
        p = h.softmax(1)
        slope = p - one_hot(y, h.shape[1]).to(p)
        gain = (slope * first).sum(1)
        variance = (p * first.square()).sum(1) - (p * first).sum(1).square()
        curved = gain + (slope * second).sum(1) + variance / 2
        return {1: Effect(gain, (h + first).argmax(1) != y), 2: Effect(curved, (h + first + second).argmax(1) != y)}


def success(wrong: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each target's correct predictions that became wrong; (sources, targets).

    ``wrong`` is (samples, sources, targets), ``right`` (samples, targets).
    """
    broken = (wrong & right[:, None, :]).sum(0)
    return np.asarray(broken / np.maximum(right.sum(0), 1)[None, :], dtype=np.float64)


def as_matrix(array: NDArray[np.float64]) -> Matrix:
    """Return the array as a record keeps it."""
    return tuple(tuple(float(v) for v in row) for row in array)
