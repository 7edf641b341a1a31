"""Intervals and correlations against closed forms, exact coverage and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from holomorph._utils.statistics import (
    bootstrap,
    crossed_interval,
    paired_interval,
    pearson,
    proportion_interval,
    r_squared,
    spearman,
)
from holomorph.errors import DataError


@pytest.mark.parametrize(("successes", "samples"), [(0, 10), (3, 10), (500, 1000), (999, 1000), (7, 7)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_a_proportion_has_wilsons_interval(successes, samples, level):
    z, p = stats.norm.isf((1 - level) / 2), successes / samples
    centre, scale = p + z * z / (2 * samples), 1 + z * z / samples
    half = z * math.sqrt(p * (1 - p) / samples + z * z / (4 * samples**2))
    found = proportion_interval(successes, samples, level)
    assert (found.low, found.high) == pytest.approx(((centre - half) / scale, (centre + half) / scale), abs=1e-12)
    assert found.low <= found.value <= found.high


def test_an_impossible_proportion_is_refused():
    with pytest.raises(DataError, match="3 of 2 is not a proportion"):
        proportion_interval(3, 2)


def _paired(first_only, second_only, n):
    both = [True] * (n - first_only - second_only)
    first = [True] * first_only + [False] * second_only + both
    return paired_interval(first, [False] * first_only + [True] * second_only + both)


@pytest.mark.parametrize(
    ("n", "first_only", "second_only"),
    [(200, 0.005, 0.0), (200, 0.005, 0.005), (100, 0.03, 0.0), (60, 0.2, 0.1), (60, 0.0, 0.3)],
)
def test_the_paired_interval_keeps_its_level(n, first_only, second_only):
    """The coverage is summed over every table that can occur, without chance; a bootstrap covers 63 % at the first."""
    shares = (first_only, second_only, 1 - first_only - second_only)
    truth, covered, seen = first_only - second_only, 0.0, 0.0
    for b in range(int(stats.binom.isf(1e-7, n, first_only)) + 1):
        for c in range(int(stats.binom.isf(1e-7, n, second_only)) + 1):
            chance = stats.multinomial.pmf([b, c, n - b - c], n, shares)
            if chance > 1e-6:
                found = _paired(b, c, n)
                covered += chance * (found.low <= truth <= found.high)
                seen += chance
    assert seen > 0.999
    assert covered > 0.93


def test_the_paired_interval_by_hand():
    z = stats.norm.isf(0.025)
    none = _paired(0, 0, 50)
    assert (none.low, none.high) == pytest.approx((-z * z / (50 + z * z), z * z / (50 + z * z)), abs=1e-7)
    many = _paired(300, 200, 2000)
    half = z * math.sqrt((500 / 2000 - 0.05**2) / 2000)
    assert (many.low, many.value, many.high) == pytest.approx((0.05 - half, 0.05, 0.05 + half), abs=5e-4)
    turned = _paired(200, 300, 2000)
    assert (turned.low, turned.high) == pytest.approx((-many.high, -many.low))
    assert _paired(9, 0, 9).high == 1.0


def test_a_paired_comparison_needs_the_same_samples():
    with pytest.raises(DataError, match="2 and 3"):
        paired_interval([True] * 2, [True] * 3)


def test_intervals_over_three_seeds_keep_their_level():
    """600 comparisons of rules with seeds and samples of different difficulty.

    A coverage of 92 % leaves 525 hits with a probability of 1 - 3e-5 and the 82 % of a bootstrap over three seeds with
    2e-4, so that two false alarms are rarer than one in 10,000.
    """
    draw, hits, hits_of_difference = np.random.default_rng(0), 0, 0
    share = [_expected(mean, 1.5**2 + 0.1**2) for mean in (0.5, 0.6)]
    for _ in range(600):
        difficulty = draw.normal(0, 1.5, 400)
        runs = [
            difficulty + mean + draw.normal(0, 0.1, (3, 1)) + draw.logistic(size=(3, 400)) > 0 for mean in (0.5, 0.6)
        ]
        one, gap = crossed_interval(runs[0]), crossed_interval(runs[0], runs[1])
        hits += one.low <= share[0] <= one.high
        hits_of_difference += gap.low <= share[0] - share[1] <= gap.high
    assert hits >= 525
    assert hits_of_difference >= 525


def _expected(mean, variance):
    """The mean of the logistic function over a normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float(weights @ (1 / (1 + np.exp(-(mean + variance**0.5 * nodes)))) / weights.sum())


def test_seeds_that_differ_widen_the_interval_and_pairing_narrows_it():
    same = np.tile([True] * 50 + [False] * 50, (3, 1))
    differing = np.array([[True] * 90 + [False] * 10, [True] * 50 + [False] * 50, [True] * 10 + [False] * 90])
    assert _width(crossed_interval(differing)) > 4 * _width(crossed_interval(same))
    better = same.copy()
    better[:, 50:54] = True
    gap = crossed_interval(better, same)
    assert gap.value == pytest.approx(0.04)
    assert _width(gap) < _width(crossed_interval(better)) / 2


def test_one_seed_gives_the_interval_of_its_samples():
    found = crossed_interval([[True] * 300 + [False] * 100])
    half = 1.966 * math.sqrt(0.75 * 0.25 / 400)
    assert (found.low, found.high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.003)


def test_no_mistake_at_all_still_leaves_an_interval():
    found = crossed_interval([[True] * 100] * 3)
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.9 < found.low < 0.99


def test_unequal_tables_are_refused():
    with pytest.raises(DataError, match="same seeds and samples"):
        crossed_interval(np.ones((2, 5)), np.ones((2, 6)))


def test_the_bootstrap_covers_as_often_as_it_says():
    """300 intervals at 90 % of six normal numbers: below 246 with probability 1e-4; the usual percentiles hold 81 %."""
    generator = np.random.default_rng(1)
    hits = 0
    for k in range(300):
        interval = bootstrap(lambda a: float(a.mean()), generator.normal(size=6), seed=k, draws=200, level=0.9)
        hits += interval.low <= 0 <= interval.high
    assert 246 <= hits <= 289


def test_the_bootstrap_keeps_infinite_values_and_single_samples():
    interval = bootstrap(lambda a: float(np.median(a)), np.array([1.0, 2.0, np.inf]), draws=50)
    assert interval.value == 2.0
    assert interval.high == np.inf
    assert bootstrap(lambda a: float(a.mean()), np.array([3.0])).low == 3.0


def test_spearman_sees_order_only():
    a = np.array([3.0, 1.0, 2.0, 5.0])
    assert spearman(a, np.exp(a)) == 1.0
    assert spearman(a, -(a**3)) == -1.0
    assert spearman(a, np.array([3.0, 1.0, 2.0, np.inf])) == 1.0
    assert spearman(a, np.ones(4)) == 0.0


def test_r_squared_fits_nothing():
    m = np.array([1.0, 2.0, 3.0, 4.0])
    assert r_squared(m, m) == 1.0
    assert r_squared(np.full(4, 2.5), m) == 0.0
    assert r_squared(2 * m, m) == pytest.approx(1 - 30 / 5)  # perfectly correlated, yet wrong
    assert pearson(2 * m, m) == pytest.approx(1.0)
    assert pearson(m, np.ones(4)) == 0.0
    assert math.isnan(r_squared(m, np.ones(4)))


def _width(interval):
    return interval.high - interval.low
