import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holomorph.calculus import dirichlet_energy, dirichlet_gram, laplacian, wirtinger
from holomorph.errors import ConfigError, ModelError
from oracles import dense_jacobian, mixed_network, smooth_mlp

G = torch.Generator().manual_seed(0)
X = torch.randn(8, 4, dtype=torch.float64, generator=G)
PROBED = ["projection", "input-projection", "dual", "complex-step", "antithetic"]


def scalar(t):
    return smooth_mlp()(t)[:, 0]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("method", ["exact", *PROBED])
def test_linear_map(method):
    W = torch.randn(3, 4, dtype=torch.float64, generator=generator(1))
    estimate = dirichlet_energy(lambda x: F.linear(x, W), X.repeat(1000, 1), method, generator=generator())
    assert estimate.value.item() == pytest.approx(W.square().sum().item(), rel=1e-10 if method == "exact" else 0.03)


@pytest.mark.parametrize("q", [1.0, 2.0, math.inf])
def test_exact_energy_against_the_dense_oracle(q):
    model = smooth_mlp()
    J = dense_jacobian(model, X)
    expected = torch.linalg.vector_norm(J, q, dim=2).square().sum(1)
    estimate = dirichlet_energy(model, X, q=q, chunk=2)
    torch.testing.assert_close(estimate.each, expected)
    torch.testing.assert_close(estimate.value, expected.mean())
    torch.testing.assert_close(estimate.standard_error, expected.std() / math.sqrt(8))
    assert estimate.samples == 8


@pytest.mark.parametrize("q", [1.0, 2.0, math.inf])
def test_finite_difference_along_the_dual_direction(q):
    exact, approximate = dirichlet_energy(scalar, X, q=q), dirichlet_energy(scalar, X, "finite-difference", q=q)
    torch.testing.assert_close(approximate.each, exact.each, rtol=1e-5, atol=1e-7)


def test_the_standard_error_covers():
    """x ~ N(0, I), 200 seeds, batches of 64: 95 % intervals must hold the energy in 90 to 99 % (false alarm < 1e-3)."""
    model = smooth_mlp()
    many = torch.randn(40000, 4, dtype=torch.float64, generator=generator(99))
    truth = dirichlet_energy(model, many).value.item()
    hits = 0
    for seed in range(200):
        x = torch.randn(64, 4, dtype=torch.float64, generator=generator(seed))
        estimate = dirichlet_energy(model, x, "dual", generator=generator(1000 + seed))
        hits += abs(estimate.value.item() - truth) < 1.96 * estimate.standard_error.item()
    assert 0.89 * 200 <= hits <= 0.99 * 200


@pytest.mark.parametrize("method", PROBED)
def test_the_same_seed_gives_the_same_number_and_a_scalar_needs_one_probe(method):
    first, again = (dirichlet_energy(smooth_mlp(), X, method, generator=generator(3)).value for _ in range(2))
    assert first == again
    assert first != dirichlet_energy(smooth_mlp(), X, method, generator=generator(4)).value
    if method == "projection":  # one output, one sign: no variance at all
        torch.testing.assert_close(dirichlet_energy(scalar, X, method).each, dirichlet_energy(scalar, X).each)


def test_zero_gradients_have_finite_derivatives():
    model = nn.Linear(4, 2).double()
    nn.init.zeros_(model.weight)
    for method in ("exact", "dual", "projection"):
        for q in (1.0, 2.0, math.inf) if method == "exact" else (2.0,):
            (gradient,) = torch.autograd.grad(dirichlet_energy(model, X, method, q=q).value, model.weight)
            assert torch.isfinite(gradient).all()


def test_batch_of_one_and_no_grad():
    estimate = dirichlet_energy(smooth_mlp(), X[:1], "dual", probes=5)
    assert torch.isfinite(estimate.standard_error)
    assert math.isnan(dirichlet_energy(smooth_mlp(), X[:1]).standard_error.item())
    with torch.no_grad():
        for method in ("exact", *PROBED):
            assert not dirichlet_energy(smooth_mlp(), X, method).value.requires_grad


def test_every_method_takes_a_network_of_every_layer():
    x = torch.randn(2, 2, 2, 2, dtype=torch.float64, generator=generator()).repeat(200, 1, 1, 1)
    exact = dirichlet_energy(mixed_network(), x).value
    drawn = {m: dirichlet_energy(mixed_network(), x, m, generator=generator()) for m in PROBED}
    for estimate in drawn.values():
        assert abs(estimate.value - exact) < 0.25 * exact
    torch.testing.assert_close(drawn["dual"].each, drawn["input-projection"].each)
    torch.testing.assert_close(drawn["dual"].each, drawn["complex-step"].each)


def test_gram_matrix_is_the_polarisation():
    f, g = smooth_mlp(seed=1), smooth_mlp(seed=2)
    gram = dirichlet_gram([f, g], X)
    for a, b in ((0, f), (1, g)):
        torch.testing.assert_close(gram[a, a], dirichlet_energy(b, X).value)
    difference = dirichlet_energy(lambda t: f(t) - g(t), X).value
    torch.testing.assert_close(difference, gram[0, 0] - 2 * gram[0, 1] + gram[1, 1])
    with pytest.raises(ConfigError, match="numbers of outputs"):
        dirichlet_gram([f, scalar], X)


def disc(count, radius, seed=0):
    g = generator(seed)
    r = radius * torch.rand(count, generator=g, dtype=torch.float64).sqrt()
    t = 2 * math.pi * torch.rand(count, generator=g, dtype=torch.float64)
    return torch.polar(r, t)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_area_theorem(k):
    """The energy of Re z^k on a disc times its area is the area of the image, k pi r^{2k}; 20,000 points, 4 sigma."""
    radius = 1.5
    z = disc(20000, radius)
    plane = torch.stack([z.real, z.imag], 1)
    estimate = dirichlet_energy(lambda p: torch.view_as_complex(p).pow(k).real, plane)
    area = math.pi * radius**2
    expected = k * math.pi * radius ** (2 * k)
    slack = max(4 * estimate.standard_error.item() * area, 1e-9)
    assert estimate.value.item() * area == pytest.approx(expected, abs=slack)


def test_conformal_invariance_in_the_plane():
    """|grad (u o phi)|^2 = |phi'|^2 (|grad u|^2 o phi), phi a Moebius map of the disc; point by point."""
    z = disc(50, 0.9)
    plane = torch.stack([z.real, z.imag], 1)
    a = 0.3 + 0.2j

    def moebius(p):
        w = torch.view_as_complex(p)
        return torch.view_as_real((w - a) / (1 - a.conjugate() * w))

    def u(p):
        return torch.sin(p[:, 0]) * p[:, 1] + p[:, 0] ** 2

    jacobian_of_phi = (1 - abs(a) ** 2) ** 2 / (1 - a.conjugate() * z).abs() ** 4
    left = dirichlet_energy(lambda p: u(moebius(p)), plane).each
    torch.testing.assert_close(left, jacobian_of_phi * dirichlet_energy(u, moebius(plane)).each)
    assert laplacian(lambda p: moebius(p)[:, 0], plane).abs().max() < 1e-10
    assert wirtinger(lambda w: (w - a) / (1 - a.conjugate() * w), z[:, None])[1].abs().max() < 1e-12


def test_refusals():
    for method in PROBED:
        with pytest.raises(ConfigError, match="l_2 energy only"):
            dirichlet_energy(scalar, X, method, q=1.0)
    with pytest.raises(ModelError, match="one number a sample"):
        dirichlet_energy(smooth_mlp(), X, "finite-difference")
    for options in ({"q": 3.0}, {"probes": 0}, {"method": "exakt"}, {"method": "antithetic", "step": -1.0}):
        with pytest.raises(ConfigError):
            dirichlet_energy(scalar, X, **options)


def test_finite_difference_passes():
    """Two forward passes, the clean one shared by value and direction; no parameter gradient for the direction."""
    model = smooth_mlp(outputs=1)
    seen = {"forward": 0, "backward": 0}
    model.register_forward_hook(lambda *_: seen.update(forward=seen["forward"] + 1))
    model[0].weight.register_hook(lambda _: seen.update(backward=seen["backward"] + 1))
    energy = dirichlet_energy(model, X, "finite-difference", q=1.0).value
    assert seen == {"forward": 2, "backward": 0}
    energy.backward(inputs=list(model.parameters()))
    assert seen == {"forward": 2, "backward": 1}
