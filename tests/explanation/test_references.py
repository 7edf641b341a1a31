"""Reference attacks against the exact distance to a linear model's boundary inside a box."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from holomorph.attacks.autoattack import AutoAttackStage
from holomorph.attacks.foolbox import FoolboxAttack
from holomorph.calculus.norms import norm
from holomorph.contract.classifier import Classifier
from holomorph.explanation.first_order import first_order
from holomorph.explanation.reference_attacks import NearestFAB, references
from holomorph.threats import ThreatModel


def linear(weight: torch.Tensor, bias: list[float]) -> nn.Module:
    model = nn.Linear(weight.shape[1], weight.shape[0])
    model.weight.data, model.bias.data = weight, torch.tensor(bias)
    return model.eval()


@pytest.mark.parametrize("name", ["inf", "2"])
def test_attacks_find_the_nearest_point_beside_black_pixels(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    model = linear(torch.randn(2, 20, generator=generator), [0.0, 0.0])
    x = torch.rand(10, 20, generator=generator) * (torch.rand(10, 20, generator=generator) < 0.5)  # half are at 0
    y = model(x).argmax(1)
    threat = ThreatModel(name, 0.1)
    exact = first_order(model, x, y, threat).distance
    for attack in references(threat, 2, 100, thorough=True):
        if attack.name == "boundary":  # reads no gradients: far from the nearest point after 100 steps
            continue
        made = attack(Classifier(model), x, y, 0)
        found = norm(made - x, threat.p)
        assert (model(made).argmax(1) != y).all(), attack.name
        assert bool((found >= exact * 0.999).all()), attack.name
        assert float((found / exact).median()) < 1.1, attack.name


def test_fab_keeps_the_nearest_of_several_rivals() -> None:
    # Logits 2, 1, 0: class 1 comes first but its boundary is at distance 1/4, class 2's at 1/10.
    model = linear(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 20.0]]), [2.0, 0.0, -10.0])
    x, y = torch.tensor([[0.25, 0.5]]), torch.tensor([0])
    package = AutoAttackStage("fab-t", ThreatModel("inf", 0.999), 3, steps=20)
    ours = NearestFAB("fab-t", ThreatModel("inf", 0.999), 3, steps=20)
    distances = [float((attack(Classifier(model), x, y, 0) - x).abs().max()) for attack in (package, ours)]
    assert distances == pytest.approx([0.25, 0.1], abs=0.01)
    assert float((replace(ours, runners_up=1)(Classifier(model), x, y, 0) - x).abs().max()) == pytest.approx(
        0.25, abs=0.01
    )


def test_fab_leaves_samples_alone_that_no_rival_can_reach() -> None:
    model = linear(torch.tensor([[0.1, 0.0], [0.0, 0.1]]), [9.0, 0.0])
    x = torch.tensor([[0.5, 0.5]])
    attack = NearestFAB("fab-t", ThreatModel("inf", 0.999), 2, steps=5)
    assert torch.equal(attack(Classifier(model), x, torch.tensor([0]), 0), x)


def test_the_boundary_attack_goes_on_from_what_was_found() -> None:
    """From a wrong point at three times the distance it comes nearer, and not nearer than the boundary is."""
    generator = torch.Generator().manual_seed(0)
    model = linear(torch.randn(2, 5, generator=generator), [0.0, 0.0])
    x = 0.3 + 0.4 * torch.rand(8, 5, generator=generator)
    y, threat = model(x).argmax(1), ThreatModel(2, 0.1, box=(-5, 5))
    exact = first_order(model, x, y, threat)
    starts = x + 3 * (exact.point - x)
    made = FoolboxAttack("boundary", threat, 200)(Classifier(model), x, y, 0, starts=starts)
    found = norm(made - x, 2.0)
    assert (found < 2.9 * exact.distance).all()
    assert (found >= 0.999 * exact.distance).all()
    assert (model(made).argmax(1) != y).all()
