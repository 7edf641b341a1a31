"""Three proofs that an answer stands, from the same enclosures: by intervals, by lines and by slopes."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from holomorph.enclosures.lines import bounds
from holomorph.enclosures.slopes import slopes
from holomorph.enclosures.values import Enclosures

#: From enclosures and labels to whether each label's logit provably stays the largest over the whole region.
Proof = Callable[[Enclosures, Tensor], Tensor]


def by_intervals(found: Enclosures, y: Tensor) -> Tensor:
    """The label's logit is at least its lower end, those of the others are at most their upper ends."""
    last = found.values[-1]
    return _ahead(last.low.gather(1, y[:, None]) - last.high, y)


def by_lines(found: Enclosures, y: Tensor) -> Tensor:
    r"""Linear bounds of each margin $h_y - h_j$, which keep what the two logits share."""
    low, _ = bounds(found, len(found.program.steps), margin_rows(found, y))
    return _ahead(low.mT, y)


def by_slopes(found: Enclosures, y: Tensor) -> Tensor:
    r"""The margin at the sample against its steepest fall: $m(x) > \sup\|\nabla m\|_q\, r$, and rounding beside it."""
    region, rows = found.region, margin_rows(found, y)
    logits = found.program.run(region.centre)
    steepest = slopes(found, rows)
    fall = region.fall(steepest.low, steepest.high) + 2 * steepest.strayed
    return _ahead(logits.gather(1, y[:, None]) - logits - fall.mT, y)


#: The proofs by name, the cheapest first.
PROOFS: dict[str, Proof] = {"intervals": by_intervals, "slopes": by_slopes, "lines": by_lines}


def margin_rows(found: Enclosures, y: Tensor) -> Tensor:
    """Cotangents whose products with the logits are the margins against each class: (classes, batch, classes)."""
    own = one_hot(y, found.values[-1].shape[0]).to(found.region.centre)
    classes = torch.eye(own.shape[1], dtype=own.dtype, device=own.device)
    return own[None] - classes[:, None]


def _ahead(margins: Tensor, y: Tensor) -> Tensor:
    """Whether all margins (batch, classes) are positive but that of the label against itself; NaN proves nothing."""
    itself = one_hot(y, margins.shape[1]).bool()
    return ((margins > 0) | itself).all(1)
