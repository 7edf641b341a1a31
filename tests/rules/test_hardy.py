import pytest
import torch
from torch import nn

from holomorph.calculus import taylor_coefficients
from holomorph.calculus.measures import Samples
from holomorph.errors import NotHolomorphicError
from holomorph.nn.classifiers import Sine
from holomorph.nn.complexify import complexify
from holomorph.rules import Hardy, Plain
from holomorph.rules.probes import corner
from holomorph.threats import ThreatModel

THREAT = ThreatModel("inf", 0.2)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(5, 3, generator=generator, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return complexify(nn.Sequential(nn.Linear(3, 6), Sine(), nn.Linear(6, 2)).double())


def test_the_circle_is_the_sum_of_the_squared_taylor_coefficients(batch, network):
    x, y = batch
    rule = Hardy(THREAT, points=16, along="random", measure=Samples())
    v = corner(x, THREAT, torch.Generator().manual_seed(rule.seed))
    coefficients = taylor_coefficients(network, x, v, order=12, radius=1.0)
    energy = coefficients.abs().square()[:, 1:].flatten(1).sum(1).mean()
    torch.testing.assert_close(rule(network, x, y) - Plain()(network, x, y), energy, rtol=1e-9, atol=1e-12)


def test_a_complexified_network_is_trained_through_the_circle(batch, network):
    Hardy(THREAT, points=4)(network, *batch).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_more_than_two_points_are_refused_for_a_network_that_is_not_analytic(batch):
    network = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    with pytest.raises(NotHolomorphicError, match=r"points=3 needs\. Use points=2"):
        Hardy(THREAT, points=3)(network, *batch)
