"""The largest radius that a proof reaches, by bisection, one a sample; and whose turn it is when time is short."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from holomorph.threats import ThreatModel

#: From the numbers of samples and a radius for each to whether it is proved.
Trial = Callable[[Tensor, Tensor], Tensor]


def largest_radius(trial: Trial, candidates: Tensor, eps: float, steps: int) -> Tensor:
    """Try eps, then quarters of it until one is proved, and bisect from there: every radius returned was proved.

    Parameters
    ----------
    trial:
        The proof.
    candidates:
        Which samples to try, (batch,) bool; the others get 0.
    eps, steps:
        The threat's radius, and how many radii are tried for a sample.

    >>> largest_radius(lambda rows, r: r <= 0.13, torch.tensor([True, False]), 0.1, 4)
    tensor([0.1250, 0.0000], dtype=torch.float64)
    """
    rows = candidates.nonzero().flatten()
    low = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    high = torch.full_like(low, 2 * eps)
    radius = torch.full_like(low, eps)
    for _ in range(steps if len(rows) else 0):
        proved = trial(rows, radius)
        low, high = torch.where(proved, radius, low), torch.where(proved, high, radius)
        radius = torch.where(low > 0, (low + high) / 2, high / 4)
    found = torch.zeros(len(candidates), dtype=torch.float64, device=rows.device)
    return found.index_copy(0, rows, low)


def jobs_in_order(
    radii: Sequence[Tensor], threats: Sequence[ThreatModel], batch_size: int, steps: int, *, timed: bool
) -> Iterator[tuple[int, int, int]]:
    """How many radii to try, under which threat, from which sample on; the first batch tells if eps is too large."""
    numbers, starts = range(len(threats)), range(0, len(radii[0]), batch_size)
    if not timed or steps == 1:
        yield from product((steps,), numbers, starts)
        return
    yield from product((steps,), numbers, starts[:1])
    hopeful = [i for i in numbers if (radii[i][:batch_size] >= threats[i].radius).any()]
    yield from product((1,), hopeful, starts[1:])
    yield from ((steps, number, start) for start in starts[1:] for number in numbers)
