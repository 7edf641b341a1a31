import math

import pytest
import torch
from torch import nn

from holomorph.calculus.measures import Samples
from holomorph.calculus.wirtinger import cauchy_riemann_residual, wirtinger
from holomorph.errors import ConfigError, ModelError
from holomorph.nn.embedding import Pairing
from holomorph.nn.layers import ComplexLinear
from holomorph.nn.networks import HolomorphicMLP, HolomorphicNetwork
from holomorph.nn.readout import ModulusReadout, RealReadout
from holomorph.rules.cauchy_riemann import CauchyRiemann
from holomorph.rules.holomorphic import Holomorphic, MaximumMargin
from holomorph.rules.registry import COMPLEX, build_rule, parse
from holomorph.threats import ThreatModel

L2 = ThreatModel(2, 0.1, (-3.0, 3.0))
LINF = ThreatModel("inf", 0.1, (-3.0, 3.0))


def moons(n: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import make_moons

    x, y = make_moons(n, noise=0.1, random_state=0)
    return torch.tensor(x), torch.tensor(y)


def network(**settings: object) -> HolomorphicMLP:
    torch.manual_seed(0)
    return HolomorphicMLP((2,), 2, width=8, **settings).double()


@pytest.mark.parametrize(("threat", "q"), [(L2, 2.0), (LINF, 1.0)])
@pytest.mark.parametrize("readout", ["real", "codes", "roots"])
def test_it_is_the_distance_to_the_code_plus_the_energy_of_the_derivative(threat, q, readout):
    x, y = moons()
    net = network(readout=readout)
    value = Holomorphic(threat, weight=0.7, measure=Samples())(net, x, y)
    z = net.embed(x)
    risk = (net.hypothesis(z) - net.codes[y]).abs().square().sum(1).mean()
    d = wirtinger(net.hypothesis, z)[0].detach().abs()
    energy = (0.1 * torch.linalg.vector_norm(d, ord=q, dim=2)).square().sum(1).mean()
    torch.testing.assert_close(value.detach(), (risk + 0.7 * energy).detach())


def test_under_pairing_the_penalty_is_the_dirichlet_energy_of_the_real_part():
    x, y = moons()
    net = network()
    base = Holomorphic(L2, weight=0.0, measure=Samples())(net, x, y)
    value = Holomorphic(L2, weight=1.0, measure=Samples())(net, x, y)
    point = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net.hypothesis(net.embed(point)).real.sum(), point)
    torch.testing.assert_close((value - base).detach(), 0.01 * slope.square().sum(1).mean())


@pytest.mark.parametrize(
    ("rule", "readout", "least"),
    [
        (Holomorphic(L2, weight=0.05), "real", 0.8),  # codes +-1 on both arcs are more than the labels ask for
        (Holomorphic(L2, weight=0.05, risk_of="logits"), "modulus", 0.9),
        (MaximumMargin(L2, temperature=1.0), "real", 0.85),
        (CauchyRiemann(L2), "real", 0.9),
    ],
)
def test_moons_are_learned(rule, readout, least):
    x, y = moons(80)
    net = network(readout=readout, activation="polynomial")
    optimiser = torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(100):
        optimiser.zero_grad()
        rule(net, x, y).backward()
        optimiser.step()
    assert float((net(x).argmax(1) == y).double().mean()) >= least


def test_the_maximum_margin_rule_finds_the_maximum_margin_of_an_affine_function():
    """Two parallel segments at distance 2: the largest least margin of an affine h is 1, ten units of eps."""
    x = torch.tensor([[1.0, 0.7], [1.0, -0.9], [-1.0, 1.1], [-1.0, -0.6]], dtype=torch.float64)
    y = torch.tensor([1, 1, 0, 0])
    torch.manual_seed(0)
    net = HolomorphicNetwork(Pairing(), ComplexLinear(1, 1), RealReadout(2)).double()
    rule = MaximumMargin(L2, temperature=0.1)
    optimiser = torch.optim.LBFGS(net.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def step():
        optimiser.zero_grad()
        loss = rule(net, x, y)
        loss.backward()
        return loss

    optimiser.step(step)
    step()
    assert math.isclose(float(rule.measured["least_margin"]), 10.0, rel_tol=0.01)


class Conjugate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.5))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z + self.share * z.conj()


def test_the_cauchy_riemann_penalty_is_the_residual_and_removes_it():
    x, y = moons()
    body = nn.Sequential(Conjugate(), ComplexLinear(1, 2)).double()
    net = HolomorphicNetwork(Pairing(), body, ModulusReadout(2)).double()
    z = net.embed(x)
    bare = CauchyRiemann(L2, weight=0.0, measure=Samples())(net, x, y)
    full = CauchyRiemann(L2, weight=2.0, measure=Samples(), probes=0)(net, x, y)
    torch.testing.assert_close(full - bare, 2 * cauchy_riemann_residual(net.hypothesis, z))
    before = float(cauchy_riemann_residual(net.hypothesis, z).detach())
    rule = CauchyRiemann(L2, weight=5.0)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        rule(net, x, y).backward()
        optimiser.step()
    assert float(cauchy_riemann_residual(net.hypothesis, z).detach()) < 0.01 < before


@pytest.mark.parametrize("name", ["holomorphic", "maximum-margin", "cauchy-riemann"])
def test_the_registry_knows_them(name):
    assert type(build_rule(name, L2)) is COMPLEX[name]


def test_texts_build_them():
    assert parse("holomorphic(weight=0.5, measure=samples)", L2).weight == 0.5


def test_models_without_a_hypothesis_and_senseless_settings_are_refused():
    x, y = moons()
    with pytest.raises(ModelError, match="HolomorphicMLP or HolomorphicCNN"):
        Holomorphic(L2)(nn.Linear(2, 2).double(), x, y)
    with pytest.raises(ConfigError, match="must not be negative"):
        Holomorphic(L2, weight=-1.0)
    with pytest.raises(ConfigError, match="Unknown risk"):
        Holomorphic(L2, risk_of="margins")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="must be positive"):
        MaximumMargin(L2, temperature=0.0)
