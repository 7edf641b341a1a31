"""Confidence intervals of accuracies, and of the difference of two models on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from holomorph.errors import DataError
from holomorph.records.base import Interval


def wilson(successes: int, samples: int, level: float = 0.95) -> Interval:
    r"""Wilson's interval of a proportion $p = k/n$.

    $$\frac{p + z^2/2n \pm z\sqrt{p(1-p)/n + z^2/4n^2}}{1 + z^2/n}$$

    It stays inside [0, 1] and keeps its level for proportions near 0 and 1, where robust accuracies lie.

    Source: Wilson, JASA 1927.

    >>> interval = wilson(0, 100)
    >>> interval.low, round(interval.high, 4)
    (0.0, 0.037)
    """
    if samples <= 0 or not 0 <= successes <= samples:
        raise DataError(f"{successes} of {samples} is not a proportion. Give 0 <= successes <= samples, samples > 0.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = successes / samples
    centre = p + z * z / (2 * samples)
    half = z * (p * (1 - p) / samples + z * z / (4 * samples**2)) ** 0.5
    scale = 1 + z * z / samples
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == samples else (centre + half) / scale
    return Interval(value=p, low=low, high=high, level=level)


def paired_bootstrap(
    first: Sequence[bool], second: Sequence[bool], *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval:
    r"""The difference of two models' accuracies on the same samples, mean(first) - mean(second).

    Samples are drawn with replacement in pairs, so that what both models find hard cancels.

    Source: Efron and Tibshirani 1993, the percentile interval.

    >>> paired_bootstrap([True] * 8, [True] * 8)
    Interval(value=0.0, low=0.0, high=0.0, level=0.95)
    """
    if len(first) != len(second) or not first:
        raise DataError(f"A paired comparison needs the same samples: there are {len(first)} and {len(second)}.")
    gap = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    values, counts = np.unique(gap, return_counts=True)
    rng = np.random.default_rng(seed)
    means = rng.multinomial(len(gap), counts / len(gap), size=draws) @ values / len(gap)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=float(gap.mean()), low=float(low), high=float(high), level=level)
