import math

import pytest
import torch

from holomorph.calculus import harnack_interval, laplacian, maximum_principle_violations, mean_value_gap
from holomorph.errors import ConfigError, DomainError, HolomorphWarning
from oracles import dense_hessian, mixed_network, smooth_mlp

G = torch.Generator().manual_seed(0)
X = torch.randn(5, 4, dtype=torch.float64, generator=G)
PLANE = torch.randn(6, 2, dtype=torch.float64, generator=G)
METHODS = ["exact", "forward", "hutchinson"]


def real_power(k):
    return lambda p: torch.view_as_complex(p).pow(k).real


@pytest.mark.parametrize("method", METHODS)
def test_closed_forms(method):
    torch.testing.assert_close(laplacian(lambda t: t.square().sum(1), X, method), torch.full((5, 1), 8.0).double())
    assert laplacian(lambda t: t.sum(1), X, method).abs().max() < 1e-12
    if method == "exact":
        for k in (1, 2, 3, 5):
            assert laplacian(real_power(k), PLANE, method).abs().max() < 1e-10
    else:
        x, y = (lambda t: t[:, 0]), (lambda t: t[:, 1])
        cubic = laplacian(lambda t: x(t) ** 3 - 3 * x(t) * y(t) ** 2, PLANE, method, probes=1, generator=G)
        assert method == "hutchinson" or cubic.abs().max() < 1e-10


@pytest.mark.parametrize("network", [smooth_mlp(), mixed_network()])
def test_dense_oracle_in_any_chunks(network):
    x = X if isinstance(network, torch.nn.Sequential) else X[:2].reshape(1, 2, 2, 2)
    expected = torch.einsum("bkii->bk", dense_hessian(network, x))
    for chunk in (1, 3, 100):
        torch.testing.assert_close(laplacian(network, x, "exact", chunk=chunk), expected)
        torch.testing.assert_close(laplacian(network, x, "forward", chunk=chunk), expected)
    many = x.repeat(4000, *(1,) * (x.ndim - 1))
    drawn = laplacian(network, many, "hutchinson", generator=torch.Generator().manual_seed(0))
    drawn = drawn.reshape(4000, *expected.shape).mean(0)
    torch.testing.assert_close(drawn, expected, rtol=0.15, atol=0.15 * expected.abs().max().item())  # about 5 sigma


def test_mean_value_of_harmonic_polynomials_and_of_the_square():
    seed = torch.Generator().manual_seed(0)
    gap = mean_value_gap(real_power(3), PLANE.repeat(5000, 1), 0.7, directions=4, generator=seed)
    assert gap.reshape(5000, 6).mean(0).abs().max() < 0.05  # the odd part cancels exactly, the rest averages out
    square = mean_value_gap(lambda t: t.square().sum(1), X, 0.5)
    torch.testing.assert_close(square, torch.full((5, 1), 0.25, dtype=torch.float64))


def test_maximum_principle():
    seed = torch.Generator().manual_seed(0)
    rates = maximum_principle_violations(lambda t: -t.square().sum(1), 0 * X, 1.0, generator=seed)
    assert rates.sampled.tolist() == [1.0]
    assert rates.ascended.tolist() == [1.0]
    x = 5 * torch.randn(200, 10, dtype=torch.float64, generator=seed)
    linear = maximum_principle_violations(lambda t: t[:, :1], x, 1.0, directions=1, generator=seed)
    assert 0.3 < linear.sampled.item() < 0.7  # one direction is a coin toss: 200 tosses, beyond 5 sigma
    assert linear.ascended.item() == 0.0


def test_harnack_interval_is_sharp_for_the_poisson_kernel():
    """P(x) = (1 - |x|^2)/|x - e|^n is positive harmonic in the unit ball with P(0) = 1, and attains both bounds."""
    for n in (2, 3, 7):
        for r in (0.1, 0.5, 0.9):
            low, high = harnack_interval(torch.tensor(1.0, dtype=torch.float64), r, 1.0, n)
            assert high.item() == pytest.approx((1 - r * r) / (1 - r) ** n)
            assert low.item() == pytest.approx((1 - r * r) / (1 + r) ** n)
    low, high = harnack_interval(torch.tensor(2.0, dtype=torch.float64), 1.0, 2.0, 4)
    assert high.item() == pytest.approx(2 * (2**2 * 3) / 1**3)
    assert low.item() == pytest.approx(2 * (2**2 * 1) / 3**3)


def test_harnack_warns_and_refuses():
    with pytest.warns(HolomorphWarning, match="dimension 11"):
        harnack_interval(torch.tensor(1.0), 0.1, 1.0, 11)
    with pytest.raises(DomainError, match="positive"):
        harnack_interval(torch.tensor(-1.0), 0.1, 1.0, 2)
    with pytest.raises(DomainError, match="radius"):
        harnack_interval(torch.tensor(1.0), 1.0, 1.0, 2)


def test_bad_input():
    for bad in ({"method": "trace"}, {"method": "exact", "chunk": 0}, {"method": "hutchinson", "probes": 0}):
        with pytest.raises(ConfigError):
            laplacian(smooth_mlp(), X, **bad)
    with pytest.raises(ConfigError):
        laplacian(smooth_mlp(), X, "forward", chunk=0)
    with pytest.raises(ConfigError, match="radius"):
        mean_value_gap(smooth_mlp(), X, -1.0)
    with pytest.raises(DomainError):
        mean_value_gap(torch.log, torch.full((1, 1), 0.5), 1.0)
    assert math.isfinite(laplacian(torch.relu, X, "forward").sum())
