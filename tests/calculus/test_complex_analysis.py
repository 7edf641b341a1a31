import math

import pytest
import torch
from torch import nn

from holomorph import calculus
from holomorph.errors import ConfigError, DataError, DomainError, ModelError, NotDifferentiableError
from oracles import mixed_network, smooth_mlp

G = torch.Generator().manual_seed(0)
Z = torch.randn(4, 3, dtype=torch.complex128, generator=G)
ZERO, ONE = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
X = torch.randn(3, 4, dtype=torch.float64, generator=G)
V = torch.randn(3, 4, dtype=torch.float64, generator=G)


def as_complex(t):
    return t.to(torch.complex128)


def test_wirtinger_closed_forms():
    eye = torch.eye(3, dtype=torch.complex128).expand(4, 3, 3)
    d, dbar = calculus.wirtinger(torch.conj, Z)
    torch.testing.assert_close(d, 0 * eye)
    torch.testing.assert_close(dbar, eye)
    d, dbar = calculus.wirtinger(lambda z: z**3, Z)
    torch.testing.assert_close(d, 3 * torch.diag_embed(Z**2))
    torch.testing.assert_close(dbar, 0 * eye)
    d, dbar = calculus.wirtinger(lambda z: (z * z.conj()).real, Z)  # |z|^2
    torch.testing.assert_close(d, torch.diag_embed(Z.conj()))
    torch.testing.assert_close(dbar, torch.diag_embed(Z))
    d, dbar = calculus.wirtinger(lambda z: z * z.conj() ** 2, Z)
    torch.testing.assert_close(d, torch.diag_embed(Z.conj() ** 2))
    torch.testing.assert_close(dbar, torch.diag_embed(2 * Z * Z.conj()))


def test_wirtinger_is_differentiable_in_parameters():
    a = torch.tensor(0.3 + 0.4j, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: calculus.wirtinger(lambda z: a * z**2 + a.conj() * z.conj(), Z[:1]), (a,))


def test_cauchy_riemann_residual():
    assert calculus.cauchy_riemann_residual(lambda z: z**2 + z.exp(), Z).item() < 1e-30
    assert calculus.cauchy_riemann_residual(lambda z: z.real + 0j, Z).item() == pytest.approx(1.0)
    exact = calculus.cauchy_riemann_residual(lambda z: z + 0.5 * z.conj() ** 2, Z).item()
    assert exact == pytest.approx(Z.abs().square().sum(1).mean().item() / 3)
    seed = torch.Generator().manual_seed(0)
    drawn = calculus.cauchy_riemann_residual(lambda z: z + 0.5 * z.conj() ** 2, Z, probes=2000, generator=seed)
    assert drawn.item() == pytest.approx(exact, rel=0.1)


def test_wirtinger_bad_input():
    with pytest.raises(DataError, match="Complexify"):
        calculus.wirtinger(torch.sin, X)
    with pytest.raises(NotDifferentiableError):
        calculus.wirtinger(lambda z: z.detach(), Z)


@pytest.mark.parametrize("point", [ZERO, as_complex(ZERO)])
def test_taylor_coefficients_of_exp_and_of_the_geometric_series(point):
    v = torch.ones_like(point)
    c = calculus.taylor_coefficients(torch.exp, point, v, order=8, radius=1.0)[0, :, 0]
    expected = torch.tensor([1 / math.factorial(k) for k in range(9)], dtype=torch.float64)
    torch.testing.assert_close(c.real if c.is_complex() else c, expected)
    assert c.is_complex() == point.is_complex()
    geometric = calculus.taylor_coefficients(lambda z: 1 / (1 - z), point, v, order=8, radius=0.3)
    torch.testing.assert_close(geometric.abs(), torch.ones(1, 9, 1, dtype=torch.float64))
    assert calculus.radius_of_convergence(geometric, radius=0.3).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("model", [smooth_mlp(), mixed_network()])
def test_contour_agrees_with_nested_forward_differentiation(model):
    x, v = (X, V) if isinstance(model, nn.Sequential) else (X[:2].reshape(1, 2, 2, 2), V[:2].reshape(1, 2, 2, 2))
    contour = calculus.taylor_coefficients(model, x, v, 4, radius=0.1)
    forward = calculus.taylor_coefficients(model, x, v, 4, method="forward")
    torch.testing.assert_close(contour, forward, rtol=1e-6, atol=1e-6)
    _, first, second = calculus.jets.second(model, x, v)
    torch.testing.assert_close(forward[:, 1], first)
    torch.testing.assert_close(2 * forward[:, 2], second)


@pytest.mark.parametrize(("order", "points"), [(0, 2), (1, 4), (2, 6), (3, 8)])
def test_the_fewest_points_give_their_coefficients(order, points):
    found = calculus.taylor_coefficients(torch.exp, ZERO, ONE, order, radius=0.1, points=points)
    exact = torch.tensor([1 / math.factorial(k) for k in range(order + 1)], dtype=torch.float64)
    torch.testing.assert_close(found[0, :, 0], exact, rtol=0.1, atol=0)


@pytest.mark.parametrize("radius", [1.5, 2.0])
@pytest.mark.parametrize("point", [ZERO, as_complex(ZERO)])
def test_a_pole_inside_the_circle_is_noticed(radius, point):
    with pytest.raises(DomainError, match=r"pole|finite"):
        calculus.taylor_coefficients(lambda z: 1 / (1 - z), point, torch.ones_like(point), 4, radius)
    with pytest.raises(DomainError):
        calculus.taylor_coefficients(torch.tanh, point, torch.ones_like(point), 4, radius + 0.5)


def test_radius_of_convergence_of_known_functions():
    k = torch.arange(1.0, 40.0, dtype=torch.float64)
    logarithm = (1 / k / 3**k)[None, :, None]  # -log(1 - z/3)
    assert calculus.radius_of_convergence(logarithm).item() == pytest.approx(3.0, rel=0.05)
    polynomial = torch.zeros(1, 12, 1, dtype=torch.float64)
    polynomial[0, :3] = 1
    assert calculus.radius_of_convergence(polynomial).item() == math.inf
    by_contour = calculus.taylor_coefficients(lambda z: z**2, ZERO, ONE, 12, radius=0.5)
    assert calculus.radius_of_convergence(by_contour, radius=0.5).item() == math.inf
    entire = [calculus.taylor_coefficients(torch.exp, ZERO, ONE, m, method="forward") for m in (3, 6)]
    assert calculus.radius_of_convergence(entire[0]) < calculus.radius_of_convergence(
        entire[1]
    )  # the failure case that is stated


def test_hardy_norm_is_the_sum_of_squares():
    c = torch.tensor([0.5, -1.0, 2.0, 0.25])
    for point in (ZERO, as_complex(ZERO)):
        v, r = torch.ones_like(point), 0.7
        f = lambda z: c[0] + c[1] * z + c[2] * z * z + c[3] * z * z * z  # noqa: E731
        expected = sum(float(a) ** 2 * r ** (2 * k) for k, a in enumerate(c))
        assert calculus.hardy_norm(f, point, v, r).item() == pytest.approx(expected)
        assert calculus.hardy_norm(f, point, v, r, centred=True).item() == pytest.approx(expected - 0.25)


def test_hardy_norm_tends_to_the_directional_energy():
    model = smooth_mlp()
    _, jv = calculus.jets.dual(model, X, V)
    small = calculus.hardy_norm(model, X, V, 1e-4, centred=True) / 1e-8
    torch.testing.assert_close(small, jv.square().sum(1), rtol=1e-5, atol=1e-8)


def test_cauchy_estimate_bounds_the_coefficients():
    model = smooth_mlp()
    c = calculus.taylor_coefficients(model, X, V, 6, radius=0.2)
    assert (c.abs() <= calculus.cauchy_estimate(model, X, V, 6, 0.2) * (1 + 1e-9)).all()
    bound = calculus.cauchy_estimate(lambda z: 1 / (1 - z), ZERO, ONE, 3, 0.5)[0, :, 0]
    torch.testing.assert_close(bound, 2.0 * 2.0 ** torch.arange(4, dtype=torch.float64))


def test_contour_bad_input():
    for options in (
        {"order": -1},
        {"order": 2, "radius": 0.0},
        {"order": 2, "method": "fft"},
        {"order": 9, "points": 8},
    ):
        with pytest.raises(ConfigError):
            calculus.taylor_coefficients(torch.exp, ZERO, ONE, **options)
    with pytest.raises(ConfigError, match="real inputs"):
        calculus.taylor_coefficients(torch.exp, as_complex(ZERO), as_complex(ONE), 2, method="forward")
    with pytest.raises(ConfigError, match="even"):
        calculus.hardy_norm(torch.exp, ZERO, ONE, 1.0, points=3)
    with pytest.raises(ModelError):
        calculus.taylor_coefficients(torch.exp, ZERO, torch.ones(1, 2, dtype=torch.float64), 2)
    with pytest.raises(DomainError, match="NaN or infinite"):
        calculus.taylor_coefficients(lambda z: torch.exp(1e6 * z), ZERO, ONE, 2, radius=1.0)
