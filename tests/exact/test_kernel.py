import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import hyp1f1

from holomorph.errors import ConfigError, DomainError
from holomorph.exact.kernel import fock_kernel, quadrature

WEIGHTS = [1e-3, 0.1, 0.5, 1.0, 2.0, 7.0, 50.0]


def series(t: complex, weight: float) -> complex:
    def term(k: int) -> mpmath.mpc:
        return mpmath.mpc(t) ** k / (mpmath.factorial(k) * (1 + weight * k))

    return complex(mpmath.nsum(term, [0, mpmath.inf]))


@pytest.mark.parametrize("weight", WEIGHTS)
def test_equals_scipys_hypergeometric_function_for_real_arguments(weight):
    t = torch.linspace(-8, 30, 77, dtype=torch.float64)
    expected = hyp1f1(1 / weight, 1 + 1 / weight, t.numpy())
    np.testing.assert_allclose(fock_kernel(t, weight).numpy(), expected, rtol=2e-11)


@pytest.mark.parametrize("weight", [0.1, 1.0, 7.0])
@pytest.mark.parametrize("t", [0.3 + 0.2j, -4 + 5j, 12j, 9 - 14j])
def test_equals_its_series_for_complex_arguments(weight, t):
    value = complex(fock_kernel(torch.tensor([t], dtype=torch.complex128), weight)[0])
    assert abs(value - series(t, weight)) < 1e-12 * math.exp(max(t.real, 0.0))


def test_without_energy_it_is_the_exponential():
    t = torch.randn(9, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fock_kernel(t, 0.0), t.exp())


def test_the_stated_accuracy_holds_at_every_number_of_nodes():
    t, weight = 6.0, 0.7
    exact = float(mpmath.hyp1f1(1 / weight, 1 + 1 / weight, t))
    for n in range(1, 9):
        nodes, masses = quadrature(weight, n)
        error = abs(sum(m * math.exp(s * t) for s, m in zip(nodes, masses, strict=True)) - exact)
        assert error <= 8 * (t / 4) ** (2 * n) / math.factorial(2 * n) * math.exp(t)


def test_derivatives_of_both_modes_and_of_second_order_are_right():
    t = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    z = torch.randn(3, dtype=torch.complex128, generator=torch.Generator().manual_seed(2), requires_grad=True)
    for point in (t, z):
        assert torch.autograd.gradcheck(lambda u: fock_kernel(u, 0.5), point, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(lambda u: fock_kernel(u, 0.5), point)
    (slope,) = torch.autograd.grad(fock_kernel(t, 0.5).sum(), t)
    torch.testing.assert_close(slope, fock_kernel(t, 0.5, derivative=1).detach())


@pytest.mark.parametrize("weight", [1e-4, 3e-4, 9.6e-4, 1.0])
def test_small_weights_are_finite_and_right(weight):
    t = torch.tensor([-30.0, 0.0, 0.1, 3.0, 400.0], dtype=torch.float64)
    exact = torch.tensor([float(mpmath.hyp1f1(1 / weight, 1 + 1 / weight, float(s))) for s in t], dtype=torch.float64)
    torch.testing.assert_close(fock_kernel(t, weight), exact, rtol=1e-12, atol=1e-13)


def test_derivatives_at_zero_whatever_else_is_in_the_batch():
    """The k-th derivative at 0 is 1/(1 + k) for weight 1."""
    for others in ([], [5.0]):
        t = torch.tensor([0.0, *others], dtype=torch.float64, requires_grad=True)
        y = fock_kernel(t, 1.0)
        for k in range(1, 5):
            (y,) = torch.autograd.grad(y.sum(), t, create_graph=True)
            assert y[0].item() == pytest.approx(1 / (1 + k), rel=1e-12)
    assert fock_kernel(torch.zeros(1, dtype=torch.float64), 1.0, derivative=2).item() == pytest.approx(1 / 3, rel=1e-14)


def test_refuses_overflow_and_senseless_weights():
    with pytest.raises(DomainError, match="Give a larger scale"):
        fock_kernel(torch.tensor([800.0], dtype=torch.float64), 1.0)
    with pytest.raises(ConfigError, match="must be a number >= 0"):
        fock_kernel(torch.zeros(1), -1.0)
    with pytest.raises(ConfigError, match="Use 0 or at least"):
        fock_kernel(torch.zeros(1), 1e-9)
    assert bool(torch.isfinite(fock_kernel(torch.tensor([600.0, -900.0], dtype=torch.float64), 1.0)).all())
