import math

import pytest
import torch
from torch import nn

from holomorph.errors import DataError
from holomorph.explanation.energy_profile import diagnose
from holomorph.records.diagnostics import DiagnosticsRecord, Gradients
from holomorph.threats import ThreatModel


def energy(gradients: Gradients, observable: str, place: str) -> float:
    return next(e for e in gradients.energies if (e.observable, e.place) == (observable, place)).interval.value


def linear(weight: list[list[float]]) -> nn.Linear:
    net = nn.Linear(len(weight[0]), len(weight), bias=False).double()
    net.weight.data = torch.tensor(weight, dtype=torch.float64)
    return net


@pytest.mark.parametrize(("norm", "q"), [("inf", 1), (2, 2), (1, math.inf)])
def test_gradient_norms_of_a_linear_model_are_those_of_the_closed_form(norm, q):
    weight = [[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]]
    x = torch.rand(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 0, 1, 1, 0, 0])
    record = diagnose(linear(weight), x, y, threat=ThreatModel(norm, 0.1), batch_size=3)
    w = torch.tensor(weight, dtype=torch.float64)
    p = (x @ w.T).softmax(1)
    exact = torch.linalg.vector_norm((p - nn.functional.one_hot(y, 2)) @ w, ord=q, dim=1)
    torch.testing.assert_close(torch.tensor(record.model.norms, dtype=torch.float64), exact)


def test_energy_of_the_square_is_four_times_the_mean_square_of_the_input():
    class Square(nn.Module):
        def forward(self, x):
            return torch.cat([x.square(), torch.zeros_like(x)], 1)

    x = torch.linspace(0.2, 0.8, 400, dtype=torch.float64)[:, None]
    record = diagnose(Square(), x, torch.zeros(400, dtype=torch.long), threat=ThreatModel("inf", 0.1), batch_size=128)
    assert energy(record.model, "logits", "samples") == pytest.approx(4 * x.square().mean().item(), rel=1e-12)
    # uniform on [x - eps, x + eps]: E (x + u)^2 = x^2 + eps^2 / 3; the tolerance is 5 standard errors
    ball = 4 * (x.square().mean().item() + 0.1**2 / 3)
    error = 4 * (2 * x * 0.1 / math.sqrt(3)).square().mean().sqrt().item() / math.sqrt(400)
    assert energy(record.model, "logits", "ball") == pytest.approx(ball, abs=5 * error)


def test_the_interval_covers_the_mean_it_is_of_and_shrinks_with_the_samples():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3)).double()
    x = torch.rand(800, 4, dtype=torch.float64)
    y = torch.randint(0, 3, (800,))
    threat = ThreatModel(2, 0.1)
    few, many = (diagnose(net, x[:n], y[:n], threat=threat).model.energies[0].interval for n in (50, 800))
    assert few.low < few.value < few.high
    assert 2 < (few.high - few.low) / (many.high - many.low) < 8  # about sqrt(16)


def test_the_baseline_sees_the_same_points_and_modes_are_left_alone():
    net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 2)).double()
    net[2].eval()
    statistics = net[2].running_mean.clone()
    x, y = torch.rand(6, 3, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 0, 1])
    record = diagnose(net, x, y, threat=ThreatModel("inf", 0.2), baseline=net)
    assert record.baseline == record.model
    assert [m.training for m in net] == [True, True, False, True, True]
    assert torch.equal(net[2].running_mean, statistics)


def test_it_is_saved_and_read_back(tmp_path):
    x, y = torch.rand(4, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    record = diagnose(linear([[1.0, 2.0], [0.0, 1.0]]), x, y, threat=ThreatModel("inf", "8/255"))
    assert DiagnosticsRecord.load(record.save(tmp_path / "diagnostics.json")) == record


def test_samples_outside_the_box_are_refused():
    with pytest.raises(DataError, match="Divide 8-bit images by 255"):
        diagnose(
            linear([[1.0], [2.0]]), torch.full((2, 1), 200.0), torch.tensor([0, 1]), threat=ThreatModel("inf", 0.1)
        )
