"""Intervals of accuracies over seeds and samples, paired between rules."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from holomorph.errors import DataError
from holomorph.records.base import Interval
from holomorph.records.comparison import ComparisonRecord, Difference, RuleResult, RunResult
from holomorph.rules import Rule

Matrix = NDArray[np.float64]


def bootstrap(right: Mapping[str, Matrix], *, draws: int = 1000, seed: int = 0) -> dict[str, Matrix]:
    r"""Draw samples and seeds with replacement, the same ones for every rule, and return the means.

    $$\hat a_b = \sum_{s,i} v_{bs}\, w_{bi}\, c_{si}, \qquad b = 1..\text{draws}$$

    with v and w the shares in which seed s and sample i were drawn, and c = 1 where the run of seed s is right on
    sample i. Differences of two rules' draws are paired: what both find hard cancels. With one seed its chance is
    not measured; with three it is measured roughly.

    Parameters
    ----------
    right:
        By rule, an array (seeds, samples) of zeros and ones.

    Source: Efron and Tibshirani 1993.

    >>> ones = np.ones((2, 5))
    >>> float(bootstrap({"a": ones})["a"].mean())
    1.0
    """
    shapes = {matrix.shape for matrix in right.values()}
    if len(shapes) != 1:
        raise DataError(f"Paired rules need the same seeds and samples; there are {sorted(shapes)}.")
    seeds, samples = shapes.pop()
    rng = np.random.default_rng(seed)
    v = rng.multinomial(seeds, [1 / seeds] * seeds, size=draws) / seeds
    w = rng.multinomial(samples, [1 / samples] * samples, size=draws) / samples
    return {rule: ((w @ matrix.T) * v).sum(1) for rule, matrix in right.items()}


def interval(value: float, draws: Matrix, level: float = 0.95) -> Interval:
    """The percentile interval around a value.

    >>> interval(0.5, np.linspace(0, 1, 101)).high
    0.975
    """
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high), level=level)


def with_accuracies(
    record: ComparisonRecord, rules: dict[str, Rule], runs: dict[str, list[RunResult]]
) -> ComparisonRecord:
    """Fill in the values of every rule and the differences of every pair."""
    draws = {f: bootstrap({text: _matrix(runs[text], f) for text in rules}) for f in record.quantities}
    means = {f: {text: float(_matrix(runs[text], f).mean()) for text in rules} for f in record.quantities}
    results = tuple(
        RuleResult(
            text=text,
            settings=rule.settings(),
            cost=runs[text][0].cost or rule.cost.passes / 3,  # some rules know it once they have seen the network
            seconds=float(np.mean([run.seconds for run in runs[text]])),
            accuracies={f: interval(means[f][text], draws[f][text]) for f in record.quantities},
            runs=tuple(runs[text]),
        )
        for text, rule in rules.items()
    )
    differences = tuple(
        Difference(
            first=a,
            second=b,
            quantity=f,
            interval=interval(means[f][a] - means[f][b], draws[f][a] - draws[f][b]),
        )
        for a, b in itertools.combinations(rules, 2)
        for f in record.quantities
    )
    return record.model_copy(update={"rules": results, "differences": differences})


def _matrix(runs: list[RunResult], quantity: str) -> Matrix:
    return np.array([[float(mark == "1") for mark in run.right[quantity]] for run in runs])
