"""Matrices without their diagonal, with and without row and column effects."""

import numpy as np

from holomorph.transferability.metrics import centred, off_diagonal


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
