"""Weights of samples and classes, and a user's own risk: in ``fit``, in every rule and in both estimators."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from holomorph.errors import ConfigError, DataError
from holomorph.rules import RULES, Plain
from holomorph.rules.registry import COMPLEX
from holomorph.sklearn import HolomorphicClassifier, RobustClassifier
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from holomorph.training.weights import drawn, weights_of
from rule_cases import batch, make, network

THREAT = ThreatModel("inf", 0.1)


def test_a_sample_is_drawn_as_often_as_its_weight_says():
    weights = torch.rand(50, generator=torch.Generator().manual_seed(0))
    weights[:5] = 0
    g = torch.Generator().manual_seed(1)
    counts = torch.stack([torch.bincount(drawn(weights, g), minlength=50) for _ in range(400)]).double()
    expected = 50 * weights / weights.sum()
    assert (counts.sum(1) == 50).all()
    assert ((counts - expected).abs() < 1 + 1e-6).all()  # systematic: never a whole draw off
    # Five standard errors of a share below 1 in 400 draws: one false alarm in 30,000 runs of the test.
    assert (counts.mean(0) - expected).abs().max() < 5 * 0.5 / 20
    assert (counts[:, :5] == 0).all()
    assert torch.equal(drawn(torch.ones(9), g).sort().values, torch.arange(9))


def test_fit_moves_the_boundary_towards_the_class_that_counts_less():
    g = torch.Generator().manual_seed(0)
    x = torch.cat([0.4 + 0.15 * torch.randn(200, 1, generator=g), 0.6 + 0.15 * torch.randn(20, 1, generator=g)])
    x, y = x.clamp(0, 1), torch.tensor([0] * 200 + [1] * 20)

    def recall(**weights):
        torch.manual_seed(0)
        model = nn.Linear(1, 2)
        fit(model, (x, y), Plain(), epochs=30, lr=0.1, **weights)
        return float((model(x[200:]).argmax(1) == 1).float().mean())

    plain, balanced = recall(), recall(class_weight="balanced")
    assert balanced > plain + 0.2
    assert recall(class_weight=[1, 10]) == pytest.approx(balanced, abs=0.11)
    assert recall(sample_weight=np.r_[np.ones(200), np.full(20, 10.0)]) == pytest.approx(balanced, abs=0.11)
    for bad, sentence in [
        ({"class_weight": "balance"}, "Did you mean 'balanced'"),
        ({"sample_weight": [1.0]}, "one number a sample"),
        ({"sample_weight": -np.ones(220)}, "not negative"),
    ]:
        with pytest.raises((ConfigError, DataError), match=sentence):
            recall(**bad)
    with pytest.raises(DataError, match="WeightedRandomSampler"):
        fit(nn.Linear(1, 2), DataLoader(TensorDataset(x, y)), Plain(), class_weight="balanced")
    assert weights_of(y) is None


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_takes_a_risk_of_the_users_own_or_says_why_not(name):
    model, (x, y) = network(norm=False), batch()
    if not RULES[name].takes_risk:
        with pytest.raises(ConfigError, match="rests on its own risk"):
            make(name, THREAT, risk_function=cross_entropy)
        return

    def doubled(logits, labels):
        return 2 * cross_entropy(logits, labels, reduction="none")

    def parts(risk):
        rule = make(name, THREAT, risk_function=risk)
        rule(model, x, y).backward()
        found = torch.cat([p.grad.flatten() for p in model.parameters()])
        model.zero_grad()
        return found

    assert (parts(doubled) - parts(None)).abs().max() > 1e-3
    with pytest.raises(ConfigError, match="one number a sample"):
        make(name, THREAT, risk_function=cross_entropy)(model, x, y)
    with pytest.raises(ConfigError, match="give a function"):
        make(name, THREAT, risk_function="focal")


def test_a_risk_reaches_fit_and_the_estimators():
    asked = []

    def watched(logits, labels):
        asked.append(len(logits))
        return cross_entropy(logits, labels, reduction="none")

    X, y = make_moons(40, noise=0.1, random_state=0)
    x = torch.as_tensor(X).float()
    for call in (
        lambda: fit(nn.Linear(2, 2), (x, torch.as_tensor(y)), "plain", epochs=1, risk_function=watched),
        lambda: RobustClassifier(epochs=1, risk_function=watched).fit(X, y),
        lambda: HolomorphicClassifier("network", epochs=1, width=4, risk_function=watched).fit(X, y),
    ):
        asked.clear()
        call()
        assert asked
    with pytest.raises(ConfigError, match="Give it where the rule is made"):
        fit(nn.Linear(2, 2), (x, torch.as_tensor(y)), Plain(), risk_function=watched)
    with pytest.raises(ConfigError, match="An exact solver has its own risk"):
        HolomorphicClassifier(risk_function=watched).fit(X, y)
    assert not COMPLEX["maximum-margin"].takes_risk


@pytest.mark.parametrize("settings", [{"landmarks": 1000}, {"loss": "hinge"}, {"solver": "polynomial", "degree": 2}])
def test_exact_solvers_count_a_weight_as_repetitions(settings):
    X, y = make_moons(40, noise=0.2, random_state=0)
    times = np.random.default_rng(0).integers(0, 4, 40)
    weighted = HolomorphicClassifier(**settings, ridge=1e-2).fit(X, y, sample_weight=times)
    repeated = HolomorphicClassifier(**settings, ridge=1e-2).fit(X.repeat(times, 0), y.repeat(times))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-3)
