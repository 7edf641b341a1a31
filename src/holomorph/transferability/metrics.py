"""Scoring a predicted transfer matrix against a measured one, off the diagonal, raw and centred."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holomorph._utils.statistics import Array, bootstrap, pearson, r_squared, spearman
from holomorph.records.transfer import PredictionScore

#: Fewer resamples than usual: a statistic solves two small least-squares problems.
_DRAWS = 200


class Arrays(NamedTuple):
    """Loss increases and wrong predictions, each (samples, sources, targets)."""

    increase: Array
    wrong: NDArray[np.bool_]


class Weights(NamedTuple):
    """Which samples count.

    ``right`` marks the samples that each target classifies correctly, shape (samples, targets): only these enter the
    success rate. ``counted`` marks the samples that count for each source, shape (samples, sources).
    """

    right: NDArray[np.bool_]
    counted: NDArray[np.bool_]


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


def prediction_score(
    label: dict[str, Any], prediction: Arrays, shuffled: Array, truth: Arrays, weights: Weights
) -> PredictionScore:
    """Compare a prediction with an attack over all pairs of different models; ``label`` says which ones."""

    def of_means(p: Array, m: Array, c: Array) -> float:
        return r_squared(*(off_diagonal(_mean(a, c)) for a in (p, m)))

    def of_residuals(p: Array, m: Array, c: Array) -> float:
        return r_squared(*(centred(_mean(a, c)) for a in (p, m)))

    def of_rates(p: Array, m: Array, r: Array, c: Array) -> float:
        return spearman(*(off_diagonal(_rates(w, r, c)) for w in (p, m)))

    counted = weights.counted.astype(np.float64)
    increases = (prediction.increase, truth.increase, counted)
    predictions = [a.astype(np.float64) for a in (prediction.wrong, truth.wrong, weights.right, counted)]
    means = [_mean(a.increase, counted) for a in (prediction, truth)]
    rates = [_rates(wrong, *predictions[2:]) for wrong in predictions[:2]]
    return PredictionScore(
        **label,
        r_squared=bootstrap(of_means, *increases, draws=_DRAWS),
        r_squared_centred=bootstrap(of_residuals, *increases, draws=_DRAWS),
        correlation=pearson(*(off_diagonal(m) for m in means)),
        correlation_centred=pearson(*(centred(m) for m in means)),
        rank_success=bootstrap(of_rates, *predictions, draws=_DRAWS),
        rank_asymmetry=spearman(*(_asymmetry(r) for r in rates)),
        shuffled=r_squared(off_diagonal(_mean(shuffled, counted)), off_diagonal(means[1])),
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
