"""What every attack in the registry must keep to, whoever wrote it: a new entry is found here by itself."""

import dataclasses
import json

import pytest
import torch

from holomorph.attacks.base import Attack, Needs, Situation
from holomorph.attacks.registry import REGISTRY, named, plan
from holomorph.calculus.norms import norm
from holomorph.contract.classifier import Classifier
from holomorph.contract.snapshot import under_attack
from holomorph.errors import ConfigError
from holomorph.evaluation.results import Results
from holomorph.threats import ThreatModel
from holomorph.threats.features import Features
from holomorph.threats.grid import grid_of

X = (255 * (0.2 + 0.6 * torch.rand(6, 1, 6, 6, generator=torch.Generator().manual_seed(0)))).round() / 255
WEIGHT = torch.randn(5, 36, generator=torch.Generator().manual_seed(1)) / 6


def linear(x: torch.Tensor) -> torch.Tensor:
    """Five affine functions; the largest distance to a boundary is about 0.1 in l_inf."""
    return (x.flatten(1) - 0.5) @ WEIGHT.T.to(x)


Y = linear(X).argmax(1)


def small(attack: Attack) -> Attack:
    """The attack with few steps: what is asked here does not depend on strength."""
    fields = {f.name for f in dataclasses.fields(attack)}  # type: ignore[arg-type]
    few = {"steps": 12, "queries": 60, "limit": None}
    return dataclasses.replace(attack, **{k: v for k, v in few.items() if k in fields})  # type: ignore[type-var]


def situation(norm: str = "2") -> Situation:
    return Situation(ThreatModel(norm, 0.9 if norm == "inf" else 3.0), 5, source=Classifier(linear), grid=grid_of(X))


@pytest.mark.parametrize("name", REGISTRY)
def test_an_attack_keeps_its_contract(name: str) -> None:
    attack = small(named(name, situation()))
    assert isinstance(attack, Attack)
    assert isinstance(attack.needs, Needs)
    assert attack.name == name
    assert attack.needs.version.split(" ")[0] == attack.needs.package
    assert json.loads(json.dumps(attack.settings())) == attack.settings()
    before, labels = X.clone(), Y.clone()
    with under_attack(linear):
        found = attack(Classifier(linear), X, Y, 0)
        again = attack(Classifier(linear), X, Y, 0)
    assert (found.shape, found.dtype) == (X.shape, X.dtype)
    assert not found.requires_grad
    assert torch.equal(found, again), "the same seed gives the same proposals"
    assert torch.equal(X, before)
    assert torch.equal(Y, labels)
    results = Results(Classifier(linear), X, Y, ThreatModel("2", 3.0), Y)
    results.submit(attack.name, attack.needs.access, torch.arange(6), found)
    assert bool((~results.robust).any()), "half the box in l_2 breaks a linear model"


@pytest.mark.parametrize("name", REGISTRY)
def test_black_box_attacks_never_ask_for_a_gradient(name: str) -> None:
    attack = small(named(name, situation()))
    asked = []

    def watched(x: torch.Tensor) -> torch.Tensor:
        asked.append(x.requires_grad and torch.is_grad_enabled())
        return linear(x)

    with under_attack(watched):
        attack(Classifier(watched), X, Y, 0)
    through_numbers = attack.needs.gradients is False and any(asked)
    assert any(asked) or not attack.needs.gradients
    assert not through_numbers


@pytest.mark.parametrize("name", REGISTRY)
def test_what_knows_features_leaves_frozen_ones_alone(name: str) -> None:
    free = torch.ones(1, 6, 6, dtype=torch.bool)
    free[0, 0] = False
    threat = Features(free.float(), torch.zeros(1, 6, 6), torch.ones(1, 6, 6)).threat("inf:0.3")
    here = Situation(threat, 5, source=Classifier(linear), grid=grid_of(X))
    if not REGISTRY[name].make(here).needs.features:
        with pytest.raises(ConfigError, match=f"{name} (knows one eps|knows no)"):
            named(name, here)
        return
    with under_attack(linear):
        found = small(named(name, here))(Classifier(linear), X, Y, 0)
    assert torch.equal(found[:, 0, 0], X[:, 0, 0])
    assert float(norm(found - X, threat.p).max()) <= 2 * threat.radius + 1e-6


def test_a_plan_asks_needs_and_the_situation() -> None:
    for norm_ in ("inf", "2", "1"):
        for effort in ("quick", "full", "thorough"):
            for gradients in (True, False):
                here = dataclasses.replace(situation(norm_), effort=effort, gradients=gradients, samples=40)
                chosen = plan(here)
                assert chosen
                assert not any(here.refusal(attack.needs) for attack in chosen)
                assert any(attack.needs.curve for attack in chosen) or not gradients


@pytest.mark.parametrize(
    ("name", "here", "text"),
    [
        ("apgd-t", Situation(ThreatModel("inf", 0.1), 3), "apgd-t needs 4 classes, the model has 3"),
        ("ddn", Situation(ThreatModel("1", 0.1), 3), "ddn knows no l_1"),
        ("apgd-ce", Situation(ThreatModel("1", 0.1), 3, gradients=False), "needs gradients"),
        ("transferred", Situation(ThreatModel("1", 0.1), 3), "needs another model"),
        ("apdg-ce", Situation(ThreatModel("1", 0.1), 3), "Did you mean 'apgd-ce'"),
    ],
)
def test_an_attack_that_cannot_serve_says_why(name: str, here: Situation, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        named(name, here)
