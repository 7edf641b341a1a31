"""Gradients against differences, and jumps off the grid, on models for which both are known."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holomorph.contract.classifier import Classifier
from holomorph.contract.snapshot import Snapshot
from holomorph.errors import ModelError
from holomorph.evaluation.inspection import AGREES, gradient_agreement, observe, off_grid_jump
from holomorph.threats import ThreatModel
from holomorph.threats.grid import grid_of
from rogues import Reversed

THREATS = [ThreatModel("inf", 0.1), ThreatModel(2, 0.5), ThreatModel(1, 2.0)]
X = (255 * torch.rand(20, 30, generator=torch.Generator().manual_seed(0))).round() / 255


def network(activation: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(30, 64), activation, nn.Linear(64, 64), activation, nn.Linear(64, 5)).eval()


def agreement(model: Any, threat: ThreatModel) -> float | None:
    classifier = Classifier(model)
    y = classifier.predictions(X)
    return gradient_agreement(classifier, X, y, threat, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_honest_networks_agree(threat: ThreatModel) -> None:
    linear = nn.Linear(30, 5)
    assert agreement(linear, threat) == pytest.approx(1.0, abs=1e-4)
    for activation in (nn.ReLU(), nn.GELU(), nn.Tanh()):
        found = agreement(network(activation), threat)
        assert found is not None
        assert found > 0.95


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_gradients_that_lie_do_not(threat: ThreatModel) -> None:
    honest = network(nn.GELU())
    slopes = torch.randn(30, 5, generator=torch.Generator().manual_seed(1))

    def elsewhere(x: Tensor) -> Tensor:
        return honest(x.detach()) + (x - x.detach()) @ slopes

    def votes(x: Tensor) -> Tensor:
        z = honest(x)
        return nn.functional.one_hot(z.argmax(1), 5) + (z - z.detach())

    lying = {
        "reversed": Reversed(honest),
        "flat": lambda x: honest(x.detach()) + 0 * x.sum(1, keepdim=True),
        "elsewhere": elsewhere,
        "votes": votes,
        "ripple": lambda x: honest(x + 0.02 * (2000 * x).sin()),
    }
    for name, model in lying.items():
        found = agreement(model, threat)
        assert found is not None, name
        assert found < AGREES, name


def test_a_constant_model_says_nothing() -> None:
    assert (
        agreement(lambda x: torch.ones(len(x), 5) * torch.arange(5.0) + 0 * x.sum(1, keepdim=True), THREATS[0]) is None
    )


def test_a_model_that_changes_off_the_grid_jumps() -> None:
    honest, grid = network(nn.GELU()), grid_of(X)
    assert grid is not None

    def two_faced(x: Tensor) -> Tensor:
        off = ((255 * x - (255 * x).round()).abs() > 1e-3).any(1, keepdim=True)
        return torch.where(off, honest((4 * x).round() / 4), honest(x))

    draws = torch.Generator().manual_seed(0)
    assert off_grid_jump(Classifier(honest), grid, X, draws) < 0.7
    assert off_grid_jump(Classifier(two_faced), grid, X, draws) > 10


def test_a_model_that_cannot_predict_a_sample_alone_is_refused() -> None:
    model = nn.Sequential(nn.Linear(30, 5), nn.BatchNorm1d(5, track_running_stats=False))
    with pytest.raises(ModelError, match=r"cannot predict a sample alone|single sample"):
        observe(Classifier(model, first=Snapshot(model)), X, THREATS[0])
