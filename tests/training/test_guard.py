"""The guard on a rule that makes networks crooked on purpose, and its values in closed form."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from holomorph.errors import ConfigError, HolomorphWarning, TrainingError
from holomorph.records.training import Epoch
from holomorph.rules import NFGSM, PGD, Dirichlet, FiniteEnergy, Growing, Plain, Rule, Sum
from holomorph.rules.base import Cost
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from holomorph.training.guard import DOUBLINGS, Guard

THREAT = ThreatModel("inf", 0.3)
SETTINGS = {"epochs": 6, "batch_size": 20, "lr": 3e-2}


class Rippled(nn.Module):
    """A small network with a ripple on its logits, whose height is learned."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.smooth = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        self.height = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.smooth(x) + self.height * (40 * x).sin()


@dataclass
class Crooked(Rule):
    """Plain training; in the second half, while its weight is below ``cure``, it raises the ripple."""

    name = "crooked"
    threat: ThreatModel = THREAT
    weight: float = 1.0
    cure: float = 2.0

    def loss(self, model, x, y):
        risk = self.risk(model(x), y).mean()
        bent = self.progress >= 0.5 and self.weight < self.cure
        height = next(p for name, p in model.named_parameters() if name.endswith("height"))
        return risk + (-10 * height if bent else height.square())

    @property
    def cost(self):
        return Cost(1, 1)


def test_figures_in_closed_form():
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    x, y = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    found = Guard(THREAT, x, y).measure(model)
    margin = 2 * 0.5 - 0.5
    slope = torch.sigmoid(torch.tensor(-margin)) * 3  # the gradient of the margin is (2, -1)
    assert found["alignment"] == pytest.approx(1.0)
    assert found["margin"] == pytest.approx(margin / 3 / 0.3)
    assert found["gradient_energy"] == pytest.approx(float((0.3 * slope) ** 2), rel=1e-5)


@pytest.mark.parametrize("margin", [1.0, 40.0, 400.0])
def test_a_confident_network_is_no_crooked_one(margin):
    """Gradients of 1e-17 agree as well as large ones; those of 1e-170 are zero, and tell nothing."""
    model = nn.Linear(2, 2)
    model.weight.data, model.bias.data = torch.eye(2), torch.tensor([margin, 0.0])
    found = Guard(THREAT, torch.full((3, 2), 0.5), torch.zeros(3, dtype=torch.long)).measure(model)
    assert found["alignment"] == pytest.approx(1.0)


def test_every_epoch_is_logged_and_the_network_left_alone(task, make_model):
    model = make_model(dropout=0.5)
    record = fit(model, task, NFGSM(THREAT), epochs=2)
    for epoch in record.history:
        assert 0 < epoch.measured["alignment"] <= 1
        assert {"gradient_energy", "margin"} <= epoch.measured.keys()
    model.train()
    before = copy.deepcopy(model.state_dict())
    Guard(THREAT, *task).measure(model)
    assert all(m.training for m in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert "alignment" not in fit(make_model(), task, Plain(), epochs=1).history[0].measured


def test_a_collapse_warns(task):
    warnings.simplefilter("ignore", HolomorphWarning)  # another collapse may follow; pytest restores the filters
    with pytest.warns(HolomorphWarning, match=r"alignment fell from 0\.\d+ to -?0\.\d+: catastrophic overfitting"):
        fit(Rippled(), task, Crooked(), **SETTINGS)


@pytest.mark.parametrize(("key", "share", "collapsed"), [("radius", 0.4, False), ("growing_radius", 1.0, True)])
def test_while_a_radius_grows_nothing_collapses(key, share, collapsed):
    epochs = [
        Epoch(number=n, loss=1.0, lr=1e-3, seconds=1.0, measured={"alignment": alignment, key: share})
        for n, alignment in ((1, 0.9), (2, 0.3))
    ]
    assert Guard.collapsed(epochs) is collapsed


def test_a_rule_whose_radius_grows_says_how_far_it_is(task, make_model):
    for rule in (Growing(PGD(THREAT), over=0.4), FiniteEnergy(THREAT, ramp=0.4)):
        shares = [epoch.measured["radius"] for epoch in fit(make_model(), task, rule, epochs=5).history]
        assert 0 < shares[0] < 1
        assert shares[2:] == [1, 1, 1]


def test_with_guard_training_goes_back_and_recovers(task, tmp_path):
    rule = Crooked()
    with pytest.warns(HolomorphWarning, match="going back to the last checkpoint, with twice the weight"):
        record = fit(Rippled(), task, rule, out=tmp_path / "a", guard=True, **SETTINGS)
    assert [epoch.number for epoch in record.history] == [1, 2, 3, 4, 5, 6]
    assert not any(Guard.collapsed(list(record.history[: k + 1])) for k in range(6))
    assert (rule.weight, rule.doublings) == (2.0, 1)
    assert record.rule_settings["weight"] == 2.0
    resumed = Crooked()  # the doubling belongs to the checkpoint
    again = fit(Rippled(), task, resumed, out=tmp_path / "a", guard=True, resume=True, **SETTINGS)
    assert (resumed.weight, resumed.doublings) == (2.0, 1)
    assert again.history == record.history


def test_the_guard_gives_up_in_the_end(task, tmp_path):
    warnings.simplefilter("ignore", HolomorphWarning)  # pytest restores the filters after each test
    with pytest.raises(TrainingError, match=f"after {DOUBLINGS} doublings"):
        fit(Rippled(), task, Crooked(cure=1e9), out=tmp_path / "a", guard=True, **SETTINGS)


def test_what_the_guard_cannot_do_is_refused(task, make_model, tmp_path):
    with pytest.raises(ConfigError, match=r"no weight that the guard could double\. Add one, for instance nfgsm \+"):
        fit(make_model(), task, NFGSM(THREAT), out=tmp_path / "a", guard=True)
    with pytest.raises(ConfigError, match="goes back to checkpoints"):
        fit(make_model(), task, Dirichlet(THREAT), guard=True)


def test_combined_rules_pass_the_doubling_on():
    inner = Dirichlet(THREAT, weight=0.5)
    rule = Sum([NFGSM(THREAT), Growing(inner)])
    assert rule.can_strengthen
    assert rule.defends_against == THREAT
    rule.strengthen()
    assert inner.weight == 1.0
    fresh = Sum([NFGSM(THREAT), Growing(Dirichlet(THREAT, weight=0.5))])
    fresh.load_state_dict(rule.state_dict())
    assert fresh.rules[1].rule.weight == 1.0
