"""The bootstrap against what is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from holomorph.comparison.statistics import bootstrap, interval
from holomorph.errors import DataError


def test_spread_over_samples_is_the_binomial_one():
    right = np.array([[1.0] * 70 + [0.0] * 30])
    draws = bootstrap({"a": right}, draws=4000)["a"]
    # relative error of a standard deviation from 4000 draws: 1.1 %; 6 % is more than 5 of them
    assert draws.std() == pytest.approx(math.sqrt(0.7 * 0.3 / 100), rel=0.06)
    assert draws.mean() == pytest.approx(0.7, abs=5 * draws.std() / math.sqrt(4000))


def test_pairing_takes_out_what_both_find_hard():
    rng = np.random.default_rng(0)
    hard = (rng.random((3, 400)) < 0.5).astype(float)
    better = hard.copy()
    better[:, :8] = 1.0
    hard[:, :8] = 0.0
    draws = bootstrap({"a": better, "b": hard})
    gap = interval(float(better.mean() - hard.mean()), draws["a"] - draws["b"])
    assert gap.value == pytest.approx(0.02)
    assert 0 < gap.low < gap.value < gap.high < 0.045
    alone = interval(float(better.mean()), draws["a"])
    assert alone.high - alone.low > 2 * (gap.high - gap.low)


def test_seeds_that_differ_widen_the_interval():
    same = np.tile([1.0] * 50 + [0.0] * 50, (3, 1))
    differing = np.array([[1.0] * 90 + [0.0] * 10, [1.0] * 50 + [0.0] * 50, [1.0] * 10 + [0.0] * 90])
    draws = bootstrap({"same": same, "differing": differing})
    assert draws["differing"].std() > 2 * draws["same"].std()


def test_unequal_shapes_are_refused():
    with pytest.raises(DataError, match="same seeds and samples"):
        bootstrap({"a": np.ones((2, 5)), "b": np.ones((2, 6))})
