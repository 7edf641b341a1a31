"""Several evaluations, one function: the same masks, the same statistics, and steps that suit the inputs."""

import pytest
import torch
from torch import nn

from holomorph.calculus import dirichlet_energy, jacobian, laplacian, mean_value_gap
from holomorph.errors import ModelError

D = torch.float64
X = torch.randn(40, 6, dtype=D, generator=torch.Generator().manual_seed(0))


def linear_with(layer):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 20), layer, nn.Linear(20, 3)).double().train()


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(20), nn.AlphaDropout(0.5)])
@pytest.mark.parametrize("method", ["input_projection", "dual", "antithetic"])
def test_every_estimator_sees_the_function_of_the_exact_one(layer, method):
    r"""$|Jv|^2$ has at most the deviation $\sqrt 2 |J|_F^2$; 40 samples at 8 standard errors of 200 probes.

    False alarm below 1e-6 in all (measured tails are heavier than a normal distribution's).
    """
    net = linear_with(layer)
    torch.manual_seed(1)
    exact = dirichlet_energy(net, X).each
    if method == "input_projection" and isinstance(layer, nn.BatchNorm1d):  # it counts its batches, in place
        with pytest.raises(ModelError, match=r"Call model\.eval\(\) first"):
            dirichlet_energy(net, X, method)
        return
    torch.manual_seed(1)
    found = dirichlet_energy(net, X, method, probes=200, generator=torch.Generator().manual_seed(2)).each
    assert bool(((found / exact - 1).abs() < 8 * 2**0.5 / 200**0.5).all())


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(20)], ids=lambda m: type(m).__name__)
def test_an_affine_network_has_no_mean_value_gap_and_no_laplacian(layer):
    net = linear_with(layer)
    assert mean_value_gap(net, X, 0.1, directions=4).abs().max() < 1e-12
    assert laplacian(net, X[:3], chunk=6).abs().max() < 1e-12


def test_the_statistics_are_those_of_the_points_and_nothing_is_learned():
    net = linear_with(nn.BatchNorm1d(20))
    var = net[0](X).var(0, correction=0)
    wanted = net[2].weight @ ((net[1].weight * (var + net[1].eps).rsqrt())[:, None] * net[0].weight)
    torch.testing.assert_close(jacobian(net, X)[0], wanted)
    torch.testing.assert_close(jacobian(net, X, chunk=3)[5], wanted)
    assert bool((net[1].running_mean == 0).all())


def test_rows_of_a_jacobian_share_their_mask():
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3)).double().train()
    J = jacobian(net, X, chunk=3)
    kept = J != 0
    assert bool((kept.all(1) | ~kept.any(1)).all())


@pytest.mark.parametrize("scale", [1.0, 255.0, 1e4])
@pytest.mark.parametrize("q", [1.0, 2.0, torch.inf])
def test_differences_in_single_precision_at_inputs_of_any_size(scale, q):
    w = torch.randn(20, generator=torch.Generator().manual_seed(0)) / scale
    x = torch.rand(500, 20, generator=torch.Generator().manual_seed(1)) * scale
    g = lambda z: (z @ w).sin()  # noqa: E731
    exact = dirichlet_energy(g, x, q=q).value.item()
    assert dirichlet_energy(g, x, "finite_difference", q=q).value.item() == pytest.approx(exact, rel=0.02)
