"""The certified risk: its closed form on a linear network, a bound everywhere, and radii that grow by training."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import holomorph as hm
from holomorph.calculus.norms import random_in_ball
from holomorph.errors import ConfigError, ModelError
from holomorph.rules import Certified, Plain
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into

D = torch.float64
WIDE = (-20.0, 20.0)
THREATS = [ThreatModel("inf", 0.1, WIDE), ThreatModel(2, 0.5, WIDE), ThreatModel(1, 1.0, WIDE)]


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_on_a_linear_network_the_margins_fall_by_eps_times_the_dual_norm(threat):
    torch.manual_seed(0)
    layer, x, y = nn.Linear(5, 3).double(), torch.randn(8, 5, dtype=D), torch.arange(8) % 3
    dual = {1: math.inf, 2: 2, math.inf: 1}[threat.p]
    logits = layer(x)
    fall = torch.linalg.vector_norm(layer.weight[y][:, None] - layer.weight[None], ord=dual, dim=2) * threat.radius
    worst = cross_entropy(logits + fall, y)  # the label's own fall is zero
    expected = 0.7 * cross_entropy(logits, y) + 0.3 * worst
    assert torch.allclose(Certified(threat, weight=0.3)(layer, x, y), expected, atol=1e-7)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_it_bounds_the_loss_over_the_whole_threat(threat):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 16), nn.GELU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    x, y, generator = torch.rand(6, 5, dtype=D), torch.arange(6) % 3, torch.Generator().manual_seed(0)
    bound = Certified(threat, weight=1.0)(model, x, y)
    worst = torch.stack([
        cross_entropy(model(into(x, x + 3 * random_in_ball(x, threat.p, threat.radius, generator), threat)), y,
                      reduction="none")
        for _ in range(200)
    ]).amax(0).mean()  # fmt: skip
    assert worst <= bound


def test_its_gradient_is_that_of_finite_differences():
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(3, 6), nn.GELU(), nn.Linear(6, 2)).double()
    x, y, rule = torch.rand(4, 3, dtype=D), torch.tensor([0, 1, 1, 0]), Certified(ThreatModel("inf", 0.2), weight=0.5)
    rule(model, x, y).backward()
    weight, step = model[0].weight, 1e-6
    found = weight.grad[0, 0].clone()
    with torch.no_grad():
        values = []
        for shift in (step, -2 * step):
            weight[0, 0] += shift
            values.append(float(rule(model, x, y)))
    assert float(found) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)


@pytest.mark.slow
def test_training_by_it_proves_more_than_plain_training():
    """A wavy boundary, so that plain training is steep where the certified one is not: 200 steps by hand."""
    torch.manual_seed(0)
    x = torch.rand(128, 2)
    y, threat = (x[:, 1] > 0.5 + 0.3 * torch.sin(9 * x[:, 0])).long(), ThreatModel("inf", 0.05)
    shares = {}
    for rule in (Plain(), Certified(threat, weight=0.8)):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(2, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 2))
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
        for _ in range(200):
            optimizer.zero_grad()
            rule(model, x, y).backward()
            optimizer.step()
        record = hm.certify(model, x, y, threat=threat, method="slopes", steps=1)
        shares[rule.name] = record.threats[0].proved
    assert shares["certified"] > shares["plain"] + 0.05


def test_networks_and_settings_that_it_cannot_use_are_refused():
    with pytest.raises(ConfigError, match=r"weight is 2"):
        Certified(THREATS[0], weight=2.0)
    with pytest.raises(ConfigError, match=r"ramp is -1"):
        Certified(THREATS[0], ramp=-1.0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(ModelError, match=r"layer 2 \(MaxPool2d\) cannot be bounded"):
        Certified(ThreatModel("inf", 0.1))(model, torch.rand(3, 1, 6, 6), torch.tensor([0, 1, 0]))
