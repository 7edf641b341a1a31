"""Taylor polynomials along rays against polynomials and series; roots against factored polynomials."""

import math

import pytest
import torch

from holomorph.framework.rays import between, smallest_positive_root, taylor


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


def _expanded(roots):
    """Coefficients, lowest first, of prod (u - r)."""
    c = torch.ones(1, dtype=torch.complex128)
    for r in roots:
        zero = torch.zeros(1, dtype=c.dtype)
        c = torch.cat([zero, c]) - r * torch.cat([c, zero])
    return c.real


@pytest.mark.parametrize(
    ("roots", "positive"),
    [
        ((2.0, -1.0, 3.0), 2.0),
        ((-2.0, -1.0, -3.0), math.inf),
        ((0.5, 1 + 1j, 1 - 1j), 0.5),
        ((-4.0, 0.1 + 1j, 0.1 - 1j), math.inf),
        ((0.0, 2.0, -3.0), 0.0),
    ],
)
def test_roots_of_factored_cubics(roots, positive):
    c = _expanded(roots)[None]
    assert float(smallest_positive_root(c)) == pytest.approx(positive, rel=1e-8)


def test_a_vanishing_leading_coefficient_does_no_harm():
    c = torch.tensor([[1.0, -2.0, 0.0, 0.0]], dtype=torch.float64)
    assert float(smallest_positive_root(c)) == pytest.approx(0.5)


def test_constants_have_no_root():
    c = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    assert smallest_positive_root(c).isinf().all()


@pytest.mark.parametrize("degree", [2, 3])
def test_interpolation_is_taylor_for_polynomials_of_its_degree(degree):
    def f(z):
        return sum((k + 1) * z[:, 0] ** k for k in range(degree + 1))

    x, v = torch.full((2, 1), 0.5, dtype=torch.float64), torch.full((2, 1), 0.3, dtype=torch.float64)
    exact = taylor(f, x, v, degree)
    end_slope = taylor(f, x + v, v, 1)[:, 1] if degree == 3 else None
    assert torch.allclose(between(exact[:, 0], exact[:, 1], f(x + v), end_slope), exact)
