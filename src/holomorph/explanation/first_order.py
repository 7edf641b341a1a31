r"""How far the decision boundary is to first order, from the margins at one point.

For a sample x with label y and a class j the margin is $m_j = h_y - h_j$; the prediction changes where the least of
them changes sign. The distance to that set is *estimated*. It is no certificate: a lower bound would need a bound on
the derivatives over the whole ball.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from holomorph.calculus.norms import norm, per_sample
from holomorph.contract import Differentiable, check_batch
from holomorph.errors import ConfigError, ModelError
from holomorph.explanation.linear_margin import SmallestStep, smallest_step
from holomorph.threats import ThreatModel


class Margin(NamedTuple):
    """The estimated distance to the boundary (0 for a misclassified sample), the runner-up met there, the point.

    ``crossed`` is the distance of the nearest point visited at which the prediction had changed: an upper bound of the
    distance, infinite where no such point was visited.
    """

    distance: Tensor
    runner_up: Tensor
    point: Tensor
    crossed: Tensor


def first_order(
    model: Differentiable, x: Tensor, y: Tensor, threat: ThreatModel, *, runners_up: int | None = None
) -> Margin:
    r"""Distance to the nearest of the runners-up's linearised boundaries, inside the box.

    $$\min_{j \ne y}\; \min\{\|\delta\|_p : m_j(x) + \langle\nabla m_j(x), \delta\rangle \le 0,\; x + \delta \in
    \text{box}\}$$

    Exact for linear models. Without the box's walls in reach it is $\min_j m_j / \|\nabla m_j\|_q$. Infinite where
    no runner-up can be reached.

    Parameters
    ----------
    model:
        Maps (batch, ...) to logits (batch, K).
    x, y:
        Samples in the threat's box and their labels.
    threat:
        Its norm and box are used, not its radius.
    runners_up:
        How many runners-up to look at, those with the largest logits first; all of them unless given.

    Raises
    ------
    DataError, ModelError, ConfigError
        For data outside the box, outputs that are not logits of at least two classes, or no runners-up.

    Source: docs/mathematics.md, section 6.

    Examples
    --------
    >>> model = torch.nn.Linear(2, 2)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]])), model.bias.data.zero_()
    >>> x, y = torch.tensor([[0.3, 0.1]]), torch.tensor([0])
    >>> first_order(model, x, y, ThreatModel("inf", 0.1)).distance  # the second coordinate meets the box at 0.1
    tensor([0.3000])
    """
    check_batch(x, y, box=threat.box)
    count = count_runners_up(model, x, runners_up)
    value, slope, runner_up = linearised(model, x, y, x, threat, count)
    return margin_of(LinearisedMargin(value, slope, runner_up), x, x, threat, value <= 0)


class LinearisedMargin(NamedTuple):
    """A margin to first order at a point: its value, its gradient, its runner-up."""

    value: Tensor
    slope: Tensor
    runner_up: Tensor


def log_odds(model: Differentiable, x: Tensor, y: Tensor) -> LinearisedMargin:
    """The label's log-odds against all runners-up together; the value is the margin to the strongest."""
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(leaf)
        own, others = logits.gather(1, y[:, None])[:, 0], logits.scatter(1, y[:, None], -math.inf)
        (slope,) = torch.autograd.grad((own - others.logsumexp(1)).sum(), leaf)
    strongest = others.detach().max(1)
    return LinearisedMargin(own.detach() - strongest.values, slope, strongest.indices)


def linearised(
    model: Differentiable, x: Tensor, y: Tensor, z: Tensor, threat: ThreatModel, runners_up: int | Tensor
) -> LinearisedMargin:
    """Expand at z: against one runner-up a sample, or the one of the strongest few whose half-space is nearest to x."""
    leaf = z.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(leaf)
        others = logits.detach().scatter(1, y[:, None], -math.inf)
        if isinstance(runners_up, int):
            runners_up = others.topk(min(runners_up, logits.shape[1] - 1), dim=1).indices
        names = runners_up.reshape(len(x), -1)
        values = logits.gather(1, y[:, None]) - logits.gather(1, names)
        count = names.shape[1]
        slopes = [torch.autograd.grad(values[:, k].sum(), leaf, retain_graph=k + 1 < count)[0] for k in range(count)]
    lines = [LinearisedMargin(values[:, k].detach(), slopes[k], names[:, k]) for k in range(count)]
    if count == 1:
        return lines[0]
    best = torch.stack([_distance(line, x, z, threat) for line in lines]).argmin(0)
    return LinearisedMargin(*(picked([line[i] for line in lines], best) for i in range(3)))


def _distance(line: LinearisedMargin, x: Tensor, z: Tensor, threat: ThreatModel) -> Tensor:
    """From x to the half-space of a line at z inside the box, infinite where the box does not reach it."""
    step = _step(line, x, z, threat)
    return norm(step.delta, threat.p).masked_fill(~step.reaches, math.inf)


def _step(line: LinearisedMargin, x: Tensor, z: Tensor, threat: ThreatModel) -> SmallestStep:
    gain = line.value - (line.slope * (z - x)).flatten(1).sum(1)
    return smallest_step(-line.slope, gain.clamp_min(0), x, threat)


def margin_of(line: LinearisedMargin, x: Tensor, z: Tensor, threat: ThreatModel, wrong: Tensor) -> Margin:
    """The half-space's distance and nearest point; samples that are wrong already stay where they are."""
    step = _step(line, x, z, threat)
    distance = norm(step.delta, threat.p).masked_fill(~step.reaches, math.inf).masked_fill(wrong, 0.0)
    point = torch.where(per_sample(wrong, x), x, x + step.delta)
    return Margin(distance, line.runner_up, point, torch.full_like(distance, math.inf).masked_fill(wrong, 0.0))


def picked(candidates: list[Tensor], best: Tensor) -> Tensor:
    """Of each sample the candidate with the index given."""
    table = torch.stack(candidates)
    return table[best, torch.arange(len(best), device=best.device)]


def count_runners_up(model: Differentiable, x: Tensor, runners_up: int | None) -> int:
    """How many runners-up there are to look at."""
    with torch.no_grad():
        logits = model(x[:1])
    if logits.ndim != 2 or logits.shape[1] < 2 or logits.shape[0] != 1:
        raise ModelError(f"A margin needs logits (batch, K) with K >= 2; the model returned {tuple(logits.shape)}.")
    most = logits.shape[1] - 1
    count = most if runners_up is None else min(runners_up, most)
    if count < 1:
        raise ConfigError(f"runners_up must be at least 1, not {runners_up}.")
    return count
