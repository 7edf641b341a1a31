"""Scoring a predicted transfer matrix against a measured one, off the diagonal, raw and centred."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holomorph.framework.agreement import Array, bootstrap, centred, correlation, determination, off_diagonal, spearman
from holomorph.framework.effects import success
from holomorph.records.transfer import Score

#: Fewer resamples than usual: a statistic solves two small least-squares problems.
_DRAWS = 200


class Arrays(NamedTuple):
    """Loss increases and wrong answers, each (samples, sources, targets)."""

    increase: Array
    wrong: NDArray[np.bool_]


def score(
    attack: str,
    eps: float,
    order: Literal[1, 2],
    prediction: Arrays,
    shuffled: Array,
    truth: Arrays,
    right: NDArray[np.bool_],
    seed: int = 0,
) -> Score:
    """Compare a prediction with an attack over all pairs of different models; ``right`` is (samples, targets)."""

    def of_means(p: Array, m: Array) -> float:
        return determination(off_diagonal(p.mean(0)), off_diagonal(m.mean(0)))

    def of_residuals(p: Array, m: Array) -> float:
        return determination(centred(p.mean(0)), centred(m.mean(0)))

    def of_rates(p: Array, m: Array, r: Array) -> float:
        return spearman(*(off_diagonal(success(w.astype(bool), r.astype(bool))) for w in (p, m)))

    increases = (prediction.increase, truth.increase)
    answers = [a.astype(np.float64) for a in (prediction.wrong, truth.wrong, right)]
    means = [a.mean(0) for a in increases]
    rates = [success(a.wrong, right) for a in (prediction, truth)]
    return Score(
        attack=attack,
        eps=eps,
        order=order,
        determination=bootstrap(of_means, *increases, seed=seed, draws=_DRAWS),
        determination_centred=bootstrap(of_residuals, *increases, seed=seed, draws=_DRAWS),
        correlation=correlation(*(off_diagonal(m) for m in means)),
        correlation_centred=correlation(*(centred(m) for m in means)),
        rank_success=bootstrap(of_rates, *answers, seed=seed, draws=_DRAWS),
        rank_asymmetry=spearman(*(_asymmetry(r) for r in rates)),
        shuffled=determination(off_diagonal(shuffled.mean(0)), off_diagonal(means[1])),
    )


def _asymmetry(rates: Array) -> Array:
    """Return rate(i, j) - rate(j, i) over the pairs i < j."""
    return np.asarray((rates - rates.T)[np.triu_indices(len(rates), 1)])
