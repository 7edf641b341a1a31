"""How far the decision boundary is: by expansions that walk out to it. An estimate, not a certificate."""

import math

import torch
from torch import Tensor

from holomorph.calculus.norms import dual_direction, norm, per_sample
from holomorph.contract import Differentiable, check_batch
from holomorph.errors import ConfigError
from holomorph.explanation.crossing import crossing
from holomorph.explanation.first_order import (
    LinearisedMargin,
    Margin,
    count_runners_up,
    first_order,
    linearised,
    log_odds,
    margin_of,
    picked,
)
from holomorph.explanation.linear_margin import smallest_step
from holomorph.threats import ThreatModel

#: The share of the first-order distance at which the second expansion stands.
_FIRST = 0.6

#: How far a radius may change from one expansion to the next.
_SHRINK, _GROW = 0.3, 2.0

#: A step's length over the radius falls from the first to the second along half a cosine; twice that where the ball is
#: round and the step is cut back along the radius.
_LONG, _SHORT, _ROUND = 0.95, 0.15, 2.0


#: Runners-up to walk to alone where the common walk found no boundary.
_ALONE = 3


def analytic(
    model: Differentiable,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    runners_up: int | None = None,
    expansions: int = 5,
) -> Margin:
    r"""Distance to the boundary from first-order expansions at points that walk out to it.

    Let $V(r) = \min_{\|\delta\| \le r} m(x + \delta)$ be the least margin on the ball of radius r. The distance is the
    root of V, and $V'(r) = -\|\nabla m\|_q$ at the minimiser (envelope theorem; coordinates that the box holds back do
    not count). The walk follows both. At a point $z$ on the sphere of radius r, Newton's method gives the next radius,
    $r + m(z)/\|\nabla m(z)\|_q$. A step down the gradient, brought back onto the sphere of that radius, gives the next
    point. The steps get shorter from one expansion to the next.

    At the last point there are two estimates: Newton's radius, and the distance from x to the half-space
    $m(z) + \langle\nabla m(z), \cdot - z\rangle \le 0$. They agree once the walk has settled. The result is their mean.

    By default there is one walk for each sample. It starts down the gradient of the label's log-odds
    $\log p_y/(1 - p_y)$ and heads from each point to the class that is strongest there. With ``runners_up`` each of so
    many classes gets a walk of its own, and the nearest counts: slower by that factor and more exact.

    The result is exact in the limit of many expansions if the walk settles on the nearest point. For linear margins,
    separate runners-up and no box it is exact at once. It is an estimate and may lie on either side of the true
    distance.

    Parameters
    ----------
    model, x, y, threat:
        As for :func:`first_order`.
    runners_up:
        How many runners-up to walk to separately, the largest logits at x first; one common walk unless given.
    expansions:
        Forward and backward passes of each walk, the one at x included; 1 is the first-order distance.

    Raises
    ------
    DataError, ModelError, ConfigError
        As for :func:`first_order`, and for a number of expansions below 1.

    Source: docs/mathematics.md, section 5; our derivation.

    Examples
    --------
    >>> ring = lambda x: torch.stack([x.square().sum(1), torch.full((len(x),), 0.25, dtype=x.dtype)], 1)
    >>> x = torch.tensor([[0.8, 0.0]], dtype=torch.float64)  # |x|^2 > 1/4 where |x| > 1/2
    >>> threat = ThreatModel(2, 0.5, box=(-1, 1))
    >>> analytic(ring, x, torch.tensor([0]), threat, expansions=8).distance
    tensor([0.3000], dtype=torch.float64)
    """
    if expansions < 1:
        raise ConfigError(f"expansions must be at least 1, not {expansions}.")
    if expansions == 1:
        return first_order(model, x, y, threat, runners_up=runners_up)
    check_batch(x, y, box=threat.box)
    count = count_runners_up(model, x, runners_up)
    if runners_up is None:
        common = _walk(model, x, y, threat, expansions, None)
        lost = ~torch.isfinite(common.distance)
        if not lost.any():
            return common
        alone = analytic(model, x[lost], y[lost], threat, runners_up=_ALONE, expansions=expansions)
        for found, value in zip(common, alone, strict=True):
            found[lost] = value
        return common
    with torch.no_grad():
        names = model(x).scatter(1, y[:, None], -math.inf).topk(count, dim=1).indices
    return _nearest([_walk(model, x, y, threat, expansions, names[:, k]) for k in range(count)])


def _walk(
    model: Differentiable, x: Tensor, y: Tensor, threat: ThreatModel, expansions: int, runner_up: Tensor | None
) -> Margin:
    """Walk to one runner-up, or to whichever is nearest."""
    line = log_odds(model, x, y) if runner_up is None else linearised(model, x, y, x, threat, runner_up)
    wrong = line.value <= 0
    z = x + smallest_step(-line.slope, _FIRST * line.value.clamp_min(0), x, threat).delta
    crossed = torch.full_like(line.value, math.inf)
    for k in range(1, expansions):
        line = linearised(model, x, y, z, threat, 1 if runner_up is None else runner_up)
        radius = norm(z - x, threat.p)
        crossed = torch.where(line.value < 0, torch.minimum(crossed, radius), crossed)
        if k < expansions - 1:
            rate = _SHORT + (_LONG - _SHORT) * (1 + math.cos(math.pi * (k - 1) / (expansions - 1))) / 2
            z = _moved(line, x, z, radius, rate, threat)
    turned, held = margin_of(line, x, z, threat, wrong), _newton(line, x, z, radius, threat)
    distance = ((turned.distance + held) / 2).masked_fill(wrong, 0.0)
    found = turned._replace(distance=distance, crossed=crossed.masked_fill(wrong, 0.0))
    lost = ~torch.isfinite(distance)
    if lost.any():
        reached, point, radius = crossing(model, x[lost], y[lost], line.slope[lost], threat)
        for part, value in ((distance, radius), (found.crossed, radius), (found.point, point)):
            part[lost] = torch.where(per_sample(reached, value), value, part[lost])
    return found


def _newton(line: LinearisedMargin, x: Tensor, z: Tensor, radius: Tensor, threat: ThreatModel) -> Tensor:
    """The radius at which the least margin's tangent vanishes, within what a step may change."""
    slope = norm(_free(line.slope, z, threat), threat.q).clamp_min(torch.finfo(x.dtype).tiny)
    return torch.minimum(torch.maximum(radius + line.value / slope, _SHRINK * radius), _GROW * radius)


def _free(slope: Tensor, z: Tensor, threat: ThreatModel) -> Tensor:
    """The gradient without the coordinates that the box keeps from following it down."""
    low, high = threat.box
    return slope.masked_fill(((z <= low) & (slope > 0)) | ((z >= high) & (slope < 0)), 0.0)


def _moved(line: LinearisedMargin, x: Tensor, z: Tensor, radius: Tensor, rate: float, threat: ThreatModel) -> Tensor:
    """Take a step down the margin, and back onto the sphere of the radius at which Newton's method expects the root."""
    low, high = threat.box
    newton = _newton(line, x, z, radius, threat)
    rate = rate if threat.norm == "inf" else _ROUND * rate
    delta = z - per_sample(rate * newton, x) * dual_direction(_free(line.slope, z, threat), threat.p) - x
    if threat.norm == "inf":
        return (x + delta.clamp(-per_sample(newton, x), per_sample(newton, x))).clamp(low, high)
    for _ in range(2):  # what the box takes away lengthens the rest
        delta = (x + delta).clamp(low, high) - x
        delta = delta * per_sample(newton / norm(delta, threat.p).clamp_min(torch.finfo(x.dtype).tiny), x)
    return (x + delta).clamp(low, high)


def _nearest(found: list[Margin]) -> Margin:
    """Of the walks to several runners-up the one that ends nearest; of the crossings the nearest."""
    best = torch.stack([margin.distance for margin in found]).argmin(0)
    nearest = Margin(*(picked([margin[i] for margin in found], best) for i in range(4)))
    return nearest._replace(crossed=torch.stack([margin.crossed for margin in found]).amin(0))
