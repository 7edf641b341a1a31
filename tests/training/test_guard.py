"""The guard on a rule that makes networks crooked on purpose, and its values in closed form."""

import copy
import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from holomorph.errors import HolomorphWarning
from holomorph.records.training import Epoch
from holomorph.rules import NFGSM, PGD, Dirichlet, FiniteEnergy, Growing, Plain, Rule, Sum
from holomorph.rules.base import Cost
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from holomorph.training.guard import DOUBLINGS, Guard

THREAT, NEAR = ThreatModel("inf", 0.3), ThreatModel("inf", 0.1)
SETTINGS = {"epochs": 6, "batch_size": 20, "lr": 3e-2}


class Rippled(nn.Module):
    """A small network with a ripple on its logits, whose height is learned."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.smooth = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        self.height = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.smooth(x) + 5 * self.height * (40 * x).sin()


@dataclass
class Crooked(Rule):
    """Plain training; in the second half, while its weight is below ``cure``, it raises the ripple."""

    name = "crooked"
    threat: ThreatModel = NEAR
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


@pytest.mark.parametrize("margin", [1.0, 40.0])
def test_a_confident_network_is_no_crooked_one(margin):
    """Gradients of 1e-17 agree as well as large ones."""
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
    with pytest.warns(HolomorphWarning, match=r"alignment fell .* and .*: catastrophic overfitting"):
        fit(Rippled(), task, Crooked(), guard=False, **SETTINGS)


def guard(samples=256):
    return Guard(THREAT, torch.zeros(samples, 2), torch.arange(samples) % 10)


def course(values, key, **more):
    """A history whose epochs measured these values."""
    common = {"loss": 1.0, "lr": 1e-3, "seconds": 1.0}
    if key == "robust_accuracy":
        return [Epoch(number=n, robust_accuracy=v, **common) for n, v in enumerate(values, 1)]
    return [Epoch(number=n, measured={key: v, **more}, **common) for n, v in enumerate(values, 1)]


@pytest.mark.parametrize(("key", "share", "collapsed"), [("radius", 0.4, False), ("growing_radius", 1.0, True)])
def test_while_a_radius_grows_nothing_collapses(key, share, collapsed):
    assert guard().collapsed(course([0.9, 0.3], "alignment", **{key: share})) is collapsed


@pytest.mark.parametrize(
    ("samples", "values", "collapsed"),
    [
        (256, [0.85, 0.5], True),
        (256, [0.85, 0.6], False),  # less than a third is gone
        (256, [0.2, 0.85, 0.8, 0.5], True),  # against the best epoch, not the last
        (20, [0.5, 0.3], False),  # of twenty samples four standard errors are 45 points
        (256, [0.19, 0.02], False),  # a constant prediction has 10 %, and that is no robustness to lose
        (256, [0.5], False),
    ],
)
def test_a_third_of_the_robust_accuracy_lost_is_a_collapse(samples, values, collapsed):
    assert guard(samples).collapsed(course(values, "robust_accuracy")) is collapsed


def test_the_robust_accuracy_in_closed_form():
    """A linear margin of x - 0.5 under a radius of 0.3: what is nearer than that to the boundary falls."""
    model = nn.Linear(1, 2)
    model.weight.data, model.bias.data = torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.5])
    x = torch.tensor([[0.1], [0.3], [0.45], [0.6], [0.75], [0.9], [0.95], [0.2]])
    y = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])  # the last one is wrong from the start
    found = Guard(THREAT, x, y).measure(model)
    assert found["robust_accuracy"] == 3 / 8
    assert found["classes"] == 2


def test_without_gradients_nothing_is_said_about_them():
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    model.bias.data = torch.tensor([1.0, 0.0])
    found = Guard(THREAT, torch.rand(4, 2), torch.tensor([0, 1, 0, 1])).measure(model)
    assert found.keys() == {"gradient_energy", "robust_accuracy", "classes"}
    assert found["classes"] == 1


def test_a_constant_prediction_warns_once(task):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(torch.tensor([5.0, 0.0]))

        def forward(self, x):
            return self.logits + 0 * x.sum(1, keepdim=True)

    with pytest.warns(HolomorphWarning, match="predicts the same class for every sample") as seen:
        fit(Constant(), task, NFGSM(THREAT), epochs=3, lr=1e-5)
    assert len(seen) == 1


def test_a_rule_whose_radius_grows_says_how_far_it_is(task, make_model):
    warnings.simplefilter("ignore", HolomorphWarning)  # at such a radius the task is hopeless
    for rule in (Growing(PGD(THREAT), over=0.4), FiniteEnergy(THREAT, ramp=0.4)):
        shares = [epoch.measured["radius"] for epoch in fit(make_model(), task, rule, epochs=5).history]
        assert 0 < shares[0] < 1
        assert shares[2:] == [1, 1, 1]


@pytest.mark.parametrize("on_disk", [True, False])
def test_by_default_training_goes_back_and_recovers(task, tmp_path, on_disk):
    rule, out = Crooked(), tmp_path / "a" if on_disk else None
    with pytest.warns(HolomorphWarning, match="going back to the epoch before, with twice the weight"):
        record = fit(Rippled(), task, rule, out=out, **SETTINGS)
    assert [epoch.number for epoch in record.history] == [1, 2, 3, 4, 5, 6]
    assert not any(guard(200).collapsed(list(record.history[: k + 1])) for k in range(6))
    assert (rule.weight, rule.doublings) == (2.0, 1)
    assert record.rule_settings["weight"] == 2.0
    if on_disk:
        resumed = Crooked()  # the doubling belongs to the checkpoint
        again = fit(Rippled(), task, resumed, out=out, resume=True, **SETTINGS)
        assert (resumed.weight, resumed.doublings) == (2.0, 1)
        assert again.history == record.history


def test_where_doubling_does_not_help_the_best_epoch_is_kept(task):
    warnings.simplefilter("ignore", HolomorphWarning)  # pytest restores the filters after each test
    rule, model = Crooked(cure=1e9), Rippled()
    record = fit(model, task, rule, **SETTINGS)
    assert rule.doublings == DOUBLINGS
    robust = [epoch.robust_accuracy for epoch in record.history]
    assert record.kept_epoch < 6
    assert robust[record.kept_epoch - 1] == max(robust) > robust[-1] + 0.02
    found = Guard(NEAR, *task).measure(model)
    assert found["robust_accuracy"] == pytest.approx(max(robust))


def test_the_best_epoch_survives_a_resume(task, tmp_path):
    warnings.simplefilter("ignore", HolomorphWarning)
    whole, first = Rippled(), Rippled()
    record = fit(whole, task, Crooked(), guard=False, out=tmp_path / "a", **SETTINGS)
    fit(first, task, Crooked(), guard=False, out=tmp_path / "a", resume=True, **SETTINGS)
    assert record.kept_epoch < 6
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), first.parameters(), strict=True))


def test_a_rule_without_a_remedy_is_warned_about(task):
    class Bent(Crooked):
        """No weight that could be doubled."""

        doubled = "none"

    warnings.simplefilter("ignore", HolomorphWarning)
    with pytest.warns(HolomorphWarning, match=r"Use a rule with more steps, or finite, which mends itself\."):
        fit(Rippled(), task, Bent(), **SETTINGS)


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
