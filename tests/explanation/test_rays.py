"""Taylor polynomials along rays against polynomials and series."""

import math

import torch

from holomorph.explanation.taylor import taylor


def test_coefficients_of_a_polynomial_in_two_variables():
    """f = a^3 b along (1, 2) from (1, 1): (1+u)^3 (1+2u) = 1 + 5u + 9u^2 + 7u^3 + 2u^4."""
    x, v = torch.ones(3, 2, dtype=torch.float64), torch.tensor([[1.0, 2.0]], dtype=torch.float64).expand(3, 2)
    got = taylor(lambda z: z[:, 0] ** 3 * z[:, 1], x, v, 4)
    assert torch.allclose(got, torch.tensor([1.0, 5.0, 9.0, 7.0, 2.0], dtype=torch.float64).expand(3, 5))


def test_coefficients_of_the_exponential_series():
    x = torch.tensor([[0.3], [0.7]], dtype=torch.float64)
    got = taylor(lambda z: z[:, 0].exp(), x, torch.full_like(x, 0.5), 4)
    expected = x.exp() * torch.tensor([0.5**k / math.factorial(k) for k in range(5)], dtype=torch.float64)
    assert torch.allclose(got, expected)
