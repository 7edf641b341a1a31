import math

import pytest
import torch

from holomorph.calculus.measures import Ball
from holomorph.calculus.wirtinger import cauchy_riemann_residual
from holomorph.errors import ConfigError, DomainError
from holomorph.exact import FockKernel, PolynomialHolomorphic
from holomorph.exact.monomials import Monomials, count_monomials
from holomorph.nn.embedding import Complexification, Pairing
from holomorph.threats import ThreatModel

BALL = Ball(ThreatModel(2, 0.1, (-9.0, 9.0)))


def data(n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=g, dtype=torch.float64)
    c = torch.stack([x[:, 0] * x[:, 1], x[:, 2].sin()], 1)
    return x, torch.complex(c, 0.1 * c.flip(1))


@pytest.mark.parametrize(("m", "d"), [(1, 6), (3, 4), (5, 2)])
def test_monomials_are_all_there_scaled_by_the_factorials(m, d):
    basis = Monomials(m, d)
    assert len(basis) == count_monomials(m, d) == len({tuple(e) for e in basis.exponents.tolist()})
    assert sum(basis.sizes) == len(basis)
    z = torch.randn(5, m, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    factorials = torch.tensor([math.prod(math.factorial(k) for k in e) for e in basis.exponents.tolist()])
    expected = (z[:, None, :] ** basis.exponents).prod(2) / factorials.double().sqrt()
    torch.testing.assert_close(basis(z), expected)


def test_derivatives_and_energy_agree_with_autograd():
    basis = Monomials(3, 3)
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a = torch.randn(len(basis), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    J = torch.func.vmap(torch.func.jacrev(lambda v: (basis(v[None]) @ a)[0]))(x)
    for j in range(3):
        torch.testing.assert_close(basis(x) @ basis.differentiate(a, j), J[:, :, j])
    gram = basis(x).mT @ basis(x)
    torch.testing.assert_close((a.mT @ basis.energy_gram(gram) @ a).trace(), J.square().sum())
    b = torch.randn(len(basis), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close((b * basis.differentiate(a, 1)).sum(), (basis.adjoint(b, 1) * a).sum())


@pytest.mark.parametrize("embedding", [Complexification(), Pairing()])
def test_the_gradient_of_the_objective_vanishes_which_is_enough_as_it_is_convex(embedding):
    x, c = data()
    h = PolynomialHolomorphic(2, 0.1, 1e-3, embedding, BALL, draws=2, seed=5).fit(x, c)
    a = h.coefficients.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(h.objective(x, c, a), a)
    assert float(gradient.abs().max()) < 1e-8


@pytest.mark.parametrize("embedding", [Complexification(), Pairing()])
def test_conjugate_gradients_reach_the_same_solution(embedding, monkeypatch):
    x, c = data()
    direct = PolynomialHolomorphic(2, 0.1, 1e-2, embedding, BALL).fit(x, c)
    monkeypatch.setattr(PolynomialHolomorphic, "direct_features", 5)
    iterative = PolynomialHolomorphic(2, 0.1, 1e-2, embedding, BALL).fit(x, c)
    torch.testing.assert_close(iterative.coefficients, direct.coefficients, rtol=1e-7, atol=1e-8)


def test_the_energy_in_the_objective_is_the_mean_square_of_the_real_gradients():
    x, _ = data(20)
    c = (x[:, :1] * x[:, 1:2]).clone()
    h = PolynomialHolomorphic(2, 0.7, 1e-3, Complexification()).fit(x, c)
    point = x.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(h(point).sum(), point)
    bare = PolynomialHolomorphic(2, 0.0, 1e-3, Complexification()).fit(x, c)
    energy = h.objective(x, c, h.coefficients) - bare.objective(x, c, h.coefficients)
    torch.testing.assert_close(energy, 0.7 * slope.square().sum() / len(x))


def test_a_polynomial_in_paired_coordinates_is_holomorphic():
    x, c = data()
    h = PolynomialHolomorphic(3, 1e-3, 1e-3, Pairing()).fit(x, c)
    assert float(cauchy_riemann_residual(h.hypothesis, Pairing()(x[:8])).detach()) < 1e-20


def test_interpolation_with_zero_slope_is_what_the_ridge_forbids():
    """Six points on a line carry a polynomial of degree 11 with zero loss and zero energy: Hermite's."""
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None]
    c = torch.tensor([[1.0], [-1.0]] * 3, dtype=torch.float64)
    free = PolynomialHolomorphic(11, 1.0, 1e-13).fit(x, c)
    held = PolynomialHolomorphic(11, 1.0, 1e-3).fit(x, c)
    assert float((free(x) - c).abs().max()) < 0.05
    assert float((held(x) - c).abs().max()) > 0.5


def test_refuses_what_does_not_fit_into_memory_and_says_how_much_it_is():
    x = torch.zeros(10, 64, dtype=torch.float64)
    with pytest.raises(DomainError, match=r"2,145 features and needs about \d+\.\d GiB.*FockKernel\(landmarks=1000\)"):
        PolynomialHolomorphic(2, max_bytes=2**26).fit(x, torch.zeros(10, 1, dtype=torch.float64))
    assert FockKernel(landmarks=1000).fit(x, torch.zeros(10, 1, dtype=torch.float64))(x).shape == (10, 1)
    with pytest.raises(ConfigError, match="ridge > 0"):
        PolynomialHolomorphic(ridge=0.0)
    with pytest.raises(ConfigError, match="has not been fitted"):
        PolynomialHolomorphic()(x)
