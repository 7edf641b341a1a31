"""How well one set of numbers predicts another: rank correlation, determination, and their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from holomorph.records.base import Interval

Array = NDArray[np.float64]


def spearman(a: Array, b: Array) -> float:
    """Rank correlation, ties at their mean rank; infinities rank last, a constant correlates with nothing (0).

    >>> spearman(np.array([1.0, 2.0, np.inf]), np.array([1.0, 8.0, 9.0]))
    1.0
    """
    ranks = [rankdata(v) for v in (a, b)]
    if min(np.ptp(r) for r in ranks) == 0:
        return 0.0
    return round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 12)


def determination(predicted: Array, measured: Array) -> float:
    r"""$R^2 = 1 - \sum (m - p)^2 / \sum (m - \bar m)^2$ of the prediction as it stands: nothing is fitted.

    At most 1; negative where the mean of the measurements would have predicted better.

    >>> determination(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    1.0
    """
    spread = float(np.square(measured - measured.mean()).sum())
    return 1.0 - float(np.square(measured - predicted).sum()) / spread if spread > 0 else float("nan")


def correlation(a: Array, b: Array) -> float:
    """Pearson's correlation, 0 where one of the two is constant."""
    if min(np.ptp(a), np.ptp(b)) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def off_diagonal(matrix: Array) -> Array:
    """Return the entries off the diagonal as a vector.

    >>> off_diagonal(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([2., 3.])
    """
    return matrix[~np.eye(len(matrix), dtype=bool)]


def centred(matrix: Array) -> Array:
    r"""Remove row and column effects from the entries off the diagonal; return the residuals as a vector.

    The effects are the least-squares fit $a_i + b_j$ to the entries $i \ne j$ (means are not it: the diagonal is
    missing). What is left says which source suits which target, beyond good sources and weak targets.

    >>> centred(np.array([[9.0, 1.0, 0.0], [0.0, 9.0, 1.0], [1.0, 0.0, 9.0]])).round(3)
    array([ 0.5, -0.5, -0.5,  0.5,  0.5, -0.5])
    """
    size = len(matrix)
    rows, columns = np.nonzero(~np.eye(size, dtype=bool))
    design = np.zeros((len(rows), 2 * size))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), size + columns] = 1
    values = matrix[rows, columns]
    effects, *_ = np.linalg.lstsq(design, values, rcond=None)
    return np.asarray(values - design @ effects)


def bootstrap(
    statistic: Callable[..., float], *samples: Array, seed: int = 0, draws: int = 500, level: float = 0.95
) -> Interval:
    """Percentile bootstrap of a statistic of arrays whose first axis is the sample; draws that are NaN are left out.

    >>> interval = bootstrap(lambda a: float(a.mean()), np.arange(100.0))
    >>> interval.value, interval.low < 49.5 < interval.high
    (49.5, True)
    """
    generator = np.random.default_rng(seed)
    count = len(samples[0])
    indices: Any = generator.integers(count, size=(draws, count))
    values = np.array([statistic(*(s[i] for s in samples)) for i in indices])
    values = values[~np.isnan(values)]
    value = float(statistic(*samples))
    if len(values) == 0:
        return Interval(value=value, low=value, high=value, level=level)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")  # infinities may occur
    return Interval(value=value, low=float(low), high=float(high), level=level)
