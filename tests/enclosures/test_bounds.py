"""Values, lines and slopes over regions: closed forms on linear networks, and points that may not escape elsewhere."""

import math

import pytest
import torch
from torch import nn

from certified_networks import EPS, models
from holomorph.calculus.norms import random_in_ball
from holomorph.enclosures import Program, Region
from holomorph.enclosures.lines import bounds, enclose_tightly
from holomorph.enclosures.rounding import gamma, unit_roundoff
from holomorph.enclosures.slopes import slopes
from holomorph.enclosures.values import enclose
from holomorph.errors import ConfigError
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into

D = torch.float64
WIDE = (-10.0, 10.0)
THREATS = [ThreatModel(norm, eps) for norm, eps in EPS.items()]
every_threat = pytest.mark.parametrize("threat", THREATS, ids=str)


def identity(found):
    outputs = found.values[-1].shape[0]
    return torch.eye(outputs, dtype=D)[:, None].expand(-1, len(found.region.low), -1)


def inside(x, threat, count=40, seed=0):
    """Points of the threat, half of them far out on its sphere."""
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        d = random_in_ball(x, threat.p, threat.radius, generator)
        d = d if number % 2 else d * 30
        yield into(x, x + d, threat)


@every_threat
def test_a_linear_network_is_enclosed_exactly(threat):
    torch.manual_seed(0)
    layer, x = nn.Linear(7, 3).double(), torch.rand(4, 7, dtype=D)
    wide = ThreatModel(threat.norm, threat.eps, WIDE)
    region = Region.around(x, wide, torch.full((4,), threat.radius))
    found = enclose(Program.trace(layer), region, 2.0**-53)
    dual = {1: math.inf, 2: 2, math.inf: 1}[threat.p]
    reach = threat.radius * torch.linalg.vector_norm(layer.weight, ord=dual, dim=1)
    low, high = bounds(found, 1, identity(found))
    assert torch.allclose(low, (layer(x) - reach).mT, atol=1e-7)
    assert torch.allclose(high, (layer(x) + reach).mT, atol=1e-7)
    steepest = slopes(found, identity(found))
    assert torch.allclose(region.fall(steepest.low, steepest.high), reach[:, None].expand(-1, 4), atol=1e-7)


def test_walls_of_the_box_count():
    x = torch.tensor([[0.95, 0.5]], dtype=D)
    region = Region.around(x, ThreatModel("inf", 0.2), torch.tensor([0.2]))
    low, high = region.range(torch.tensor([[[1.0, 1.0]]], dtype=D))
    assert (float(low), float(high)) == pytest.approx((1.05, 1.7))
    falls = region.fall(torch.tensor([[[-1.0, -1.0]]], dtype=D), torch.tensor([[[-1.0, -1.0]]], dtype=D))
    assert float(falls) == pytest.approx(0.25)
    assert bool((region.low <= x).all() and (region.high >= x).all())
    outside = Region.around(torch.tensor([[1.0000001]], dtype=D), ThreatModel("inf", 0.2), torch.tensor([0.2]))
    assert float(outside.high) >= 1.0000001


@pytest.mark.slow
@every_threat
@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_no_computed_value_escapes(threat, dtype):
    for name, model, shape in models(5):
        model.to(dtype).eval()
        torch.manual_seed(2)
        x = torch.rand(3, *shape, dtype=dtype)
        region = Region.around(x, threat, torch.full((3,), threat.radius))
        program = Program.trace(model)
        for found in (enclose(program, region, unit_roundoff(dtype, x.device)),) + (
            (enclose_tightly(program, region, unit_roundoff(dtype, x.device)),) if len(shape) == 1 else ()
        ):
            rows = identity(found)
            low, high = bounds(found, len(program.steps), rows)
            steepest = slopes(found, rows)
            fall = region.fall(steepest.low, steepest.high) + 2 * steepest.strayed
            for z in inside(x, threat, 8):
                out = model(z).detach().double()
                assert ((found.values[-1].low <= out) & (out <= found.values[-1].high)).all(), name
                assert ((low <= out.mT) & (out.mT <= high)).all(), name
                assert (out - model(x).detach().double() >= -fall.mT).all(), name


@every_threat
def test_gradients_stay_inside_the_slopes(threat):
    for name, model, shape in models(9):
        model.double().eval()
        torch.manual_seed(3)
        x = torch.rand(2, *shape, dtype=D)
        region = Region.around(x, threat, torch.full((2,), threat.radius))
        found = enclose(Program.trace(model), region, 2.0**-53)
        steepest = slopes(found, identity(found))
        for z in inside(x, threat, 6):
            rows = torch.func.vmap(torch.func.jacrev(lambda v, m=model: m(v[None])[0]))(z).transpose(0, 1)
            assert ((steepest.low <= rows + 1e-12) & (rows - 1e-12 <= steepest.high)).all(), name


def test_lines_are_tighter_than_intervals_and_small_balls_are_almost_linear():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 3)).double()
    x = torch.rand(5, 6, dtype=D)
    widths = {}
    for eps in (0.01, 0.005):
        region = Region.around(x, ThreatModel(2, eps), torch.full((5,), eps))
        found = enclose_tightly(Program.trace(model), region, 2.0**-53)
        low, high = bounds(found, 5, identity(found))
        assert ((high - low) < (found.values[-1].high - found.values[-1].low).mT).all()
        gradients = torch.func.vmap(torch.func.jacrev(lambda v: model(v[None])[0]))(x)
        widths[eps] = (high - low).mT - 2 * eps * gradients.norm(dim=2)
    assert (widths[0.01] > 0).all()
    assert (widths[0.005] < 0.3 * widths[0.01]).all()  # what is beyond the line is of second order


def test_residual_sums_keep_what_both_branches_share():
    class Cancels(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.one(x) + self.two(x)

    model, x = Cancels().double(), torch.rand(2, 4, dtype=D)
    model.two.weight.data = -model.one.weight.data
    region = Region.around(x, ThreatModel("inf", 0.3), torch.full((2,), 0.3))
    found = enclose(Program.trace(model), region, 2.0**-53)
    low, high = bounds(found, 3, identity(found))
    assert (high - low).max() < 1e-7
    assert (found.values[-1].high - found.values[-1].low).min() > 0.1


def test_rounding_of_large_sums_is_in_the_tolerance():
    """Logits near 2^20 in single precision have steps of 1/8: no margin below that can be proved."""
    layer = nn.Linear(64, 2)
    layer.weight.data.fill_(2.0**14)
    layer.weight.data[1] += 2.0**-4
    x = torch.rand(50, 64)
    found = enclose(Program.trace(layer), Region.point(x), unit_roundoff(x.dtype, x.device))
    exact = x.double() @ layer.weight.double().mT + layer.bias.double()
    off = (layer(x).double() - exact).abs()
    assert off.max() > 0.01
    assert (off <= found.values[-1].tolerance).all()


def test_precisions_that_cannot_be_bounded_are_refused():
    with pytest.raises(ConfigError, match=r"float32 or float64, not torch.bfloat16"):
        unit_roundoff(torch.bfloat16, torch.device("cpu"))
    with pytest.raises(ConfigError, match="may be off by any amount"):
        gamma(2**24, 2.0**-24)
