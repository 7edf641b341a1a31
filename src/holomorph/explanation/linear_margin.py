r"""The smallest step into a half-space that stays in the box: what a linear classifier's nearest runner-up is.

$$\min \|\delta\|_p \;\text{such that}\; \langle g, \delta\rangle \ge c,\; x + \delta \in [\mathrm{lo}, \mathrm{hi}]^n$$

Every coordinate moves along the sign of its gradient. Up to the box, the optimal step of size s moves coordinate i by
$\min(r_i s, \text{room}_i)$. The rate is $r_i = 1$ for p = inf and $r_i = |g_i|$ for p = 2 (the Kuhn-Tucker
conditions). So the gain is a concave piecewise linear function of s, which Newton's method inverts. For p = 1 the
coordinates are filled one after the other, steepest first.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from holomorph.threats import ThreatModel

#: Newton's steps; each settles at least one more coordinate, and nearly always a few suffice.
_MOST_STEPS = 50


class SmallestStep(NamedTuple):
    """A step for each sample, and whether it reaches the gain that was asked for; if not, it is the largest one."""

    delta: Tensor
    reaches: Tensor


def smallest_step(g: Tensor, gain: Tensor, x: Tensor, threat: ThreatModel) -> SmallestStep:
    r"""Return the smallest $\delta$ with $\langle g, \delta\rangle \ge$ gain inside the threat's box.

    Assumes that x lies in the box and gain >= 0; the threat's radius plays no part.

    Parameters
    ----------
    g, x:
        Gradients and samples, (batch, ...).
    gain:
        What the step must gain to first order, (batch,).

    Source: docs/mathematics.md, section 6; our derivation.

    Examples
    --------
    >>> g, x = torch.tensor([[1.0, 1.0]]), torch.tensor([[0.9, 0.0]])
    >>> smallest_step(g, torch.tensor([0.5]), x, ThreatModel("inf", 0.1)).delta
    tensor([[0.1000, 0.4000]])
    """
    slope, start = g.flatten(1), x.flatten(1)
    low, high = threat.box
    worth = slope.abs()
    room = torch.where(slope > 0, high - start, start - low).clamp_min(0)
    move, reaches = (_greedy if threat.norm == "1" else _together)(worth, room, gain, threat.p)
    return SmallestStep((slope.sign() * move).reshape(x.shape), reaches)


def _together(worth: Tensor, room: Tensor, gain: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """Newton's method from the left: on a concave piecewise linear function it ends at the root, exactly."""
    rate = worth if p == 2 else (worth > 0).to(worth)
    tiny = torch.finfo(worth.dtype).tiny
    size = torch.zeros_like(gain)
    for _ in range(_MOST_STEPS):
        moves = rate * size[:, None] < room
        left = gain - (worth * room * ~moves).sum(1)
        further = torch.maximum(size, left / (worth * rate * moves).sum(1).clamp_min(tiny))
        further = torch.where(moves.any(1) & (left > 0), further, size)
        if torch.equal(further, size):
            break
        size = further
    reaches = (worth * room).sum(1) >= gain
    move = torch.minimum(rate * size[:, None], room)
    return torch.where(reaches[:, None], move, room * (worth > 0)), reaches


def _greedy(worth: Tensor, room: Tensor, gain: Tensor, p: float) -> tuple[Tensor, Tensor]:
    ordered, order = worth.sort(1, descending=True)
    space = room.gather(1, order)
    gained = (ordered * space).cumsum(1)
    missing = gain[:, None] - (gained - ordered * space)
    move = torch.minimum(missing.clamp_min(0) / ordered.clamp_min(torch.finfo(worth.dtype).tiny), space)
    move = torch.zeros_like(move).scatter(1, order, move * (ordered > 0))
    return move, gained[:, -1] >= gain
