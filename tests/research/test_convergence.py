"""Gaps of linear models in closed form."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holomorph.calculus.ascent import maximise
from holomorph.errors import DataError
from holomorph.research.convergence import convergence, gap
from holomorph.threats import ThreatModel


def _slope(w):
    """Two logits (w x_0, 0): probability sigmoid(w x_0)."""
    model = nn.Linear(2, 2, bias=False).double()
    model.weight.data = torch.tensor([[w, 0.0], [0.0, 0.0]], dtype=torch.float64)
    return model


@pytest.fixture
def data():
    x = 0.3 + 0.4 * torch.rand(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, torch.arange(30) % 2


def test_gaps_of_two_slopes_in_closed_form(data):
    """|sigmoid(2t) - sigmoid(t)| grows with t in [0.2, 0.8]: its supremum lies at the ball's right end."""
    x, _ = data

    def difference(t):
        return float((torch.sigmoid(2 * t) - torch.sigmoid(t)).mean())

    found = gap([_slope(2.0), _slope(1.0)], data, data, threat=ThreatModel("inf", 0.1))
    assert found.pointwise.value == pytest.approx(difference(x[:, 0]))
    assert found.uniform.value == pytest.approx(difference(x[:, 0] + 0.1), rel=1e-6)
    assert found.generalisation == found.robust_generalisation == 0  # the same samples on both sides


def test_the_uniform_gap_is_never_below_the_pointwise_one(data):
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)).double() for _ in range(3)]
    found = gap(models, data, data, threat=ThreatModel(2, 0.1), steps=4)
    assert found.uniform.value >= found.pointwise.value


def test_generalisation_gaps_of_a_model_that_knows_its_samples(data):
    x, _ = data
    model = _slope(1.0)
    model.weight.data = torch.tensor([[-8.0, 0.0], [8.0, 0.0]], dtype=torch.float64)
    model.bias = nn.Parameter(torch.tensor([4.0, -4.0], dtype=torch.float64))
    right = (x[:, 0] > 0.5).long()
    found = gap([model, model], (x, 1 - right), (x, right), threat=ThreatModel("inf", 0.05))
    assert found.generalisation == 1
    away = float(((x[:, 0] - 0.5).abs() > 0.05).double().mean())
    assert found.robust_generalisation == pytest.approx(away)


def test_convergence_trains_every_size_from_every_seed(data):
    asked = []

    def train(size, seed):
        asked.append((size, seed))
        return _slope(1.0 + seed / size)

    found = convergence(train, [10, 100], data, data, threat=ThreatModel("inf", 0.1), rule_name="plain")
    assert asked == [(10, 0), (10, 1), (100, 0), (100, 1)]
    assert [g.size for g in found] == [10, 100]
    assert found[1].pointwise.value < found[0].pointwise.value / 5
    with pytest.raises(DataError, match="two seeds"):
        convergence(train, [10], data, data, threat=ThreatModel("inf", 0.1), seeds=[0])


def test_the_ascent_finds_in_l_1_what_the_rules_find() -> None:
    """One coordinate a step would leave four points of five: ten steps reach ten coordinates of 784."""
    torch.manual_seed(0)
    model, x = nn.Linear(784, 10), torch.rand(64, 784)
    y = model(x).argmax(1)
    threat = ThreatModel("1", 12)
    found = gap([model, model], (x, (y + 1) % 10), (x, y), threat=threat, steps=10)
    assert found.generalisation == 1.0, "every seen label is right, every fresh one wrong"
    assert found.robust_generalisation <= 1 / 64, "no seen sample survives but for one that a single start may miss"
    ends = maximise(lambda z: cross_entropy(model(z), y, reduction="none"), x, threat, torch.Generator().manual_seed(0))
    assert int((model(ends).argmax(1) == y).sum()) <= 1
