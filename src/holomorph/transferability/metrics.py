"""Scoring a predicted transfer matrix against a measured one, off the diagonal, raw and centred."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holomorph._utils.agreement import Array, bootstrap, centred, correlation, determination, off_diagonal, spearman
from holomorph.records.transfer import Score

#: Fewer resamples than usual: a statistic solves two small least-squares problems.
_DRAWS = 200


class Arrays(NamedTuple):
    """Loss increases and wrong predictions, each (samples, sources, targets)."""

    increase: Array
    wrong: NDArray[np.bool_]


class Weights(NamedTuple):
    """Which samples count: for success those that the target classifies correctly, (samples, targets); of each source.

    The latter is (samples, sources).
    """

    right: NDArray[np.bool_]
    counted: NDArray[np.bool_]


def score(label: dict[str, Any], prediction: Arrays, shuffled: Array, truth: Arrays, weights: Weights) -> Score:
    """Compare a prediction with an attack over all pairs of different models; ``label`` says which ones."""

    def of_means(p: Array, m: Array, c: Array) -> float:
        return determination(*(off_diagonal(_mean(a, c)) for a in (p, m)))

    def of_residuals(p: Array, m: Array, c: Array) -> float:
        return determination(*(centred(_mean(a, c)) for a in (p, m)))

    def of_rates(p: Array, m: Array, r: Array, c: Array) -> float:
        return spearman(*(off_diagonal(_rates(w, r, c)) for w in (p, m)))

    counted = weights.counted.astype(np.float64)
    increases = (prediction.increase, truth.increase, counted)
    predictions = [a.astype(np.float64) for a in (prediction.wrong, truth.wrong, weights.right, counted)]
    means = [_mean(a.increase, counted) for a in (prediction, truth)]
    rates = [_rates(wrong, *predictions[2:]) for wrong in predictions[:2]]
    return Score(
        **label,
        determination=bootstrap(of_means, *increases, draws=_DRAWS),
        determination_centred=bootstrap(of_residuals, *increases, draws=_DRAWS),
        correlation=correlation(*(off_diagonal(m) for m in means)),
        correlation_centred=correlation(*(centred(m) for m in means)),
        rank_success=bootstrap(of_rates, *predictions, draws=_DRAWS),
        rank_asymmetry=spearman(*(_asymmetry(r) for r in rates)),
        shuffled=determination(off_diagonal(_mean(shuffled, counted)), off_diagonal(means[1])),
    )


def _mean(increase: Array, counted: Array) -> Array:
    """Over the samples that count for the source; (sources, targets)."""
    return np.asarray((increase * counted[:, :, None]).sum(0) / np.maximum(counted.sum(0), 1)[:, None])


def _rates(wrong: Array, right: Array, counted: Array) -> Array:
    """Share of the correct predictions on counted samples that become wrong; (sources, targets)."""
    possible = right[:, None, :] * counted[:, :, None]
    return np.asarray((wrong * possible).sum(0) / np.maximum(possible.sum(0), 1))


def _asymmetry(rates: Array) -> Array:
    """Return rate(i, j) - rate(j, i) over the pairs i < j."""
    return np.asarray((rates - rates.T)[np.triu_indices(len(rates), 1)])
