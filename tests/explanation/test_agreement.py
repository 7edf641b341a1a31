"""Scores on numbers whose score is known."""

import math

import numpy as np
import pytest

from holomorph._utils.agreement import bootstrap, centred, correlation, determination, off_diagonal, spearman


def test_spearman_sees_order_only():
    a = np.array([3.0, 1.0, 2.0, 5.0])
    assert spearman(a, np.exp(a)) == 1.0
    assert spearman(a, -(a**3)) == -1.0
    assert spearman(a, np.array([3.0, 1.0, 2.0, np.inf])) == 1.0
    assert spearman(a, np.ones(4)) == 0.0


def test_determination_fits_nothing():
    m = np.array([1.0, 2.0, 3.0, 4.0])
    assert determination(m, m) == 1.0
    assert determination(np.full(4, 2.5), m) == 0.0
    assert determination(2 * m, m) == pytest.approx(1 - 30 / 5)  # perfectly correlated, yet wrong
    assert correlation(2 * m, m) == pytest.approx(1.0)
    assert math.isnan(determination(m, np.ones(4)))


def test_centring_removes_every_row_and_column_effect():
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(5, 5))
    effects = 10 * generator.normal(size=(5, 1)) + 10 * generator.normal(size=(1, 5))
    assert np.allclose(centred(matrix + effects), centred(matrix))
    assert np.allclose(centred(effects), 0)
    residual = np.zeros((5, 5))
    residual[~np.eye(5, dtype=bool)] = centred(matrix)
    assert np.allclose(residual.sum(0), 0)
    assert np.allclose(residual.sum(1), 0)


def test_the_diagonal_is_never_looked_at():
    matrix = np.arange(16.0).reshape(4, 4) ** 1.5
    spoiled = matrix + 1e6 * np.eye(4)
    assert np.allclose(off_diagonal(matrix), off_diagonal(spoiled))
    assert np.allclose(centred(matrix), centred(spoiled))


def test_the_bootstrap_covers_as_often_as_it_says():
    """200 intervals at 90 % for the mean of 40 normal numbers: outside 160..197 hits only with probability < 1e-3."""
    generator = np.random.default_rng(1)
    hits = 0
    for k in range(200):
        interval = bootstrap(lambda a: float(a.mean()), generator.normal(size=40), seed=k, draws=200, level=0.9)
        hits += interval.low <= 0 <= interval.high
    assert 160 <= hits <= 197


def test_the_bootstrap_keeps_infinite_values():
    interval = bootstrap(lambda a: float(np.median(a)), np.array([1.0, 2.0, np.inf]), draws=50)
    assert interval.value == 2.0
    assert interval.high == np.inf
