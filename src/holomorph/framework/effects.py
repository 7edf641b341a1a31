"""What a perturbation does to a target, measured or predicted: the rise of its loss and whether its answer is wrong."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from holomorph.framework.rays import taylor
from holomorph.records.transfer import Matrix
from holomorph.types import Differentiable


class Effect(NamedTuple):
    """Of each sample: how much the loss rises, and whether the answer is wrong afterwards; (batch,)."""

    increase: Tensor
    wrong: Tensor


@torch.no_grad()
def measured(target: Differentiable, x: Tensor, perturbed: Tensor, y: Tensor) -> Effect:
    """Run the target on the perturbed inputs."""
    before, after = target(x), target(perturbed)
    rise = cross_entropy(after, y, reduction="none") - cross_entropy(before, y, reduction="none")
    return Effect(rise, after.argmax(1) != y)


def predicted(target: Differentiable, x: Tensor, delta: Tensor, y: Tensor) -> dict[int, Effect]:
    r"""Predict the effect of $\delta$ from the derivatives of the target's logits along it, to order 1 and 2.

    With $h', h''$ the derivatives of the logits along $\delta$, p the probabilities and e the label's unit vector,

    $$\Delta\ell \approx \langle p - e, h'\rangle
    + \tfrac12 \big(\langle p - e, h''\rangle + \operatorname{Var}_p h'\big),$$

    the second term at order 2 only; answers are those of the logits' own polynomial. Exact at order 1 in the limit of
    small steps; for a linear model the logits are exact at any step.

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
        return {
            1: Effect(gain, (h + first).argmax(1) != y),
            2: Effect(curved, (h + first + second).argmax(1) != y),
        }


class Table:
    """Effects of every source on every target, sample by sample; batches are appended."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[Effect]] = {}

    def add(self, source: int, target: int, effect: Effect) -> None:
        """Append a batch."""
        self._cells.setdefault((source, target), []).append(effect)

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return increases and wrong answers, each (samples, sources, targets)."""
        size = 1 + max(source for source, _ in self._cells)
        cells = [[self._cells[s, t] for t in range(size)] for s in range(size)]
        rise = torch.stack([torch.stack([torch.cat([e.increase for e in c]) for c in row], 1) for row in cells], 1)
        wrong = torch.stack([torch.stack([torch.cat([e.wrong for e in c]) for c in row], 1) for row in cells], 1)
        return rise.double().cpu().numpy(), wrong.cpu().numpy()


def success(wrong: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each target's right answers that became wrong; (sources, targets).

    ``wrong`` is (samples, sources, targets), ``right`` (samples, targets).
    """
    broken = (wrong & right[:, None, :]).sum(0)
    return np.asarray(broken / np.maximum(right.sum(0), 1)[None, :], dtype=np.float64)


def as_matrix(array: NDArray[np.float64]) -> Matrix:
    """Return the array as a record keeps it."""
    return tuple(tuple(float(v) for v in row) for row in array)
