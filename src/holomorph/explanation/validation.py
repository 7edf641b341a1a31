"""Do margins predict attacks? Estimated distances to the boundary against the smallest perturbations found."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from holomorph._utils.cache import Cache
from holomorph._utils.progress import bar
from holomorph._utils.statistics import Array, bootstrap, spearman
from holomorph.attacks.base import Attack
from holomorph.contract.classifier import Classifier
from holomorph.errors import DataError
from holomorph.explanation.first_order import Margin, first_order
from holomorph.explanation.margins import analytic
from holomorph.explanation.reference_attacks import clock, nearest, references
from holomorph.records.explanation import Agreement, Margins
from holomorph.threats import ThreatModel

_Name = Literal["first order", "analytic", "analytic, thorough"]

#: First order and the thorough form look at three runners-up; the quick form is one walk of five expansions.
_ESTIMATES: dict[_Name, Callable[..., Margin]] = {
    "first order": partial(first_order, runners_up=3),
    "analytic": analytic,
    "analytic, thorough": partial(analytic, runners_up=3, expansions=20),
}

_GRID = 41


class _Timed(NamedTuple):
    values: Array
    crossed: Array
    seconds: float


def validate_margins(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int = 100,
    thorough: bool = False,
    batch_size: int = 250,
    seed: int = 0,
    cache: Cache | None = None,
) -> Margins:
    """Compare first-order and analytic margins with the best of the attacks, sample by sample and as a curve.

    The attacks are those of :func:`holomorph.explanation.reference_attacks.references`. What they find is an upper
    bound of the true distance, so an estimate below it need not be wrong.

    Parameters
    ----------
    model, x, y, threat:
        As for :func:`holomorph.explain`; the threat's radius ends the curve's grid at twice its length at least.
    steps:
        Iterations of FMN; the other attacks' follow from it.
    thorough:
        Add the slower attacks.
    cache:
        Where what the attacks have found in each batch is kept.

    Raises
    ------
    DataError
        If no two samples are classified correctly, or the attacks find nothing.

    Source: docs/mathematics.md, sections 5 and 6.
    """
    attacks = references(threat, model.logits(x[:1]).shape[1], steps, thorough=thorough)
    found, fmn = _attacked(model, x, y, threat, attacks, batch_size, seed, cache or Cache())
    if (found > 0).sum() < 2:
        raise DataError("Fewer than two samples are classified correctly: there is no margin to compare. Train more.")
    if (np.isfinite(found) & (found > 0)).sum() < 2:
        raise DataError("The attacks found next to nothing to compare the margins with. Give them more steps.")
    estimates = {name: _estimated(estimate, model, x, y, threat, batch_size) for name, estimate in _ESTIMATES.items()}
    first, many, slow = estimates.values()
    crossed = np.minimum(many.crossed, slow.crossed)
    finite = found[np.isfinite(found)]
    grid = np.linspace(0.0, max(2 * threat.radius, float(np.quantile(finite, 0.95))), _GRID)
    return Margins(
        threat=threat, attacks=tuple(a.name for a in attacks), steps=steps, found=tuple(found.tolist()),
        first_order=tuple(first.values.tolist()), analytic=tuple(many.values.tolist()),
        thorough=tuple(slow.values.tolist()), crossed=tuple(crossed.tolist()), eps=tuple(grid.tolist()),
        attacked_accuracy=tuple(survivors(found, grid).tolist()),
        first_order_accuracy=tuple(survivors(first.values, grid).tolist()),
        analytic_accuracy=tuple(survivors(many.values, grid).tolist()),
        thorough_accuracy=tuple(survivors(slow.values, grid).tolist()),
        agreements=tuple(_agreement(name, e, found, crossed, grid, fmn, seed) for name, e in estimates.items()),
    )  # fmt: skip


def survivors(distances: Array, grid: Array) -> Array:
    """Return the share of samples whose distance exceeds each eps: the accuracy under attack.

    >>> survivors(np.array([0.0, 0.1, np.inf]), np.array([0.0, 0.2]))
    array([0.66666667, 0.33333333])
    """
    return np.asarray((distances[None, :] > grid[:, None]).mean(1))


def _agreement(
    name: _Name, estimate: _Timed, found: Array, crossed: Array, grid: Array, fmn: float, seed: int
) -> Agreement:
    right = (found > 0) & np.isfinite(found)
    e, d = estimate.values[right], found[right]

    def gap(a: Array, b: Array) -> float:
        return float(np.abs(survivors(a, grid) - survivors(b, grid)).max())

    return Agreement(
        estimate=name,
        spearman=bootstrap(spearman, e, d, seed=seed),
        relative_error=bootstrap(lambda a, b: float(np.median(np.abs(a - b) / b)), e, d, seed=seed),
        curve_gap=bootstrap(gap, estimate.values, found, seed=seed),
        joined_gap=bootstrap(gap, estimate.values, np.minimum(found, crossed), seed=seed),
        seconds=estimate.seconds,
        faster=fmn / max(estimate.seconds, 1e-9),
    )


def _attacked(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    attacks: list[Attack],
    batch_size: int,
    seed: int,
    cache: Cache,
) -> tuple[Array, float]:
    """The least distance at which the model, run again, is wrong; and the seconds that FMN took."""
    starts = range(0, len(x), batch_size)
    distances, seconds = [], 0.0
    with bar("attacks", total=len(starts)) as progress:
        progress.describe(f"margins found by {', '.join(a.name for a in attacks)} ({threat})")
        for i in starts:
            kept = cache.get(f"margins-{i}")
            if kept is None:
                found = nearest(model, x[i : i + batch_size], y[i : i + batch_size], attacks, threat, seed)
                kept = {
                    "distance": found.distance.cpu().double().numpy(),
                    "point": found.point.cpu().numpy(),
                    "seconds": np.array(found.seconds),
                }
                cache.put(f"margins-{i}", **kept)
            distances.append(kept["distance"])
            seconds += float(kept["seconds"])
            progress.advance()
    return np.concatenate(distances), seconds


def _estimated(
    estimate: Callable[..., Margin], model: Classifier, x: Tensor, y: Tensor, threat: ThreatModel, batch_size: int
) -> _Timed:
    started = clock(x)
    starts = range(0, len(x), batch_size)
    parts = [estimate(model, x[i : i + batch_size], y[i : i + batch_size], threat) for i in starts]
    distance, crossed = (
        torch.cat(p).cpu().double().numpy() for p in zip(*((m.distance, m.crossed) for m in parts), strict=True)
    )
    return _Timed(distance, crossed, clock(x) - started)
