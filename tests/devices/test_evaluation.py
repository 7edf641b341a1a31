"""Attacks, evaluations and explanations on a pretend accelerator find what the CPU finds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from holomorph.attacks.pgd import Pgd
from holomorph.contract.classifier import Classifier
from holomorph.evaluation.attack import attack
from holomorph.evaluation.evaluate import evaluate
from holomorph.explanation.explain import explain
from holomorph.sklearn import RobustClassifier
from holomorph.threats import ThreatModel
from pretend_device import PretendDevice
from rule_cases import THREATS


def network(seed: int = 0) -> nn.Module:
    """A small network in single precision, undefended."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 3)).eval()


def task(model: nn.Module, samples: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples that the network predicts correctly."""
    x = torch.rand(samples, 6, generator=torch.Generator().manual_seed(1))
    return x, model(x).argmax(1)


@pytest.mark.slow
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_a_quick_evaluation_runs_there(single: PretendDevice, threat: ThreatModel, tmp_path: Path) -> None:
    x, y = task(network())
    found = evaluate(single.put(network()), x, y, threat, quick=True, baseline=single.put(network(1)), out=tmp_path)
    assert found.clean == 1
    assert found.robust < 1, "how much less depends on the device's speed"
    assert found.baseline is not None


@pytest.mark.campaign
def test_a_full_evaluation_under_three_threats(single: PretendDevice, tmp_path: Path) -> None:
    model = network()
    x, y = task(model)
    there = evaluate(model, x, y, THREATS, baseline=network(1))
    here = evaluate(single.put(network()), x, y, THREATS, baseline=single.put(network(1)), out=tmp_path)
    assert (here.clean, here.robust) == (there.clean, there.robust)
    assert {a.name for a in here.attacks} == {a.name for a in there.attacks}


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_an_attack_finds_what_the_cpu_finds(single: PretendDevice, threat: ThreatModel) -> None:
    x, y = task(network())
    there = attack(network(), x, y, threat=threat)
    here = attack(single.put(network()), x, y, threat=threat)
    torch.testing.assert_close(here.adversarial.cpu(), there.adversarial, rtol=0, atol=1e-5)
    assert torch.equal(here.broken.cpu(), there.broken)


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("settings", [{}, {"restarts": 2, "corners": True}, {"far": True}], ids=str)
def test_a_step_of_an_attack_neither_waits_nor_copies(
    pretend: PretendDevice, threat: ThreatModel, settings: dict[str, object]
) -> None:
    classifier, (x, y) = Classifier(pretend.put(network())), pretend.put(task(network()))
    counts = []
    for steps in (4, 4, 12):
        pretend.reset()
        Pgd(threat, steps=steps, **settings)(classifier, x, y, 0)  # type: ignore[arg-type]
        counts.append((pretend.waits.total(), pretend.copies.total()))
    assert counts[1] == counts[2], (pretend.waits, pretend.copies)


@pytest.mark.slow
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_explanations(single: PretendDevice, threat: ThreatModel) -> None:
    x, y = task(network(), samples=16)
    # Not harmonicity: its jets are a subclass of tensors, as those of the pretended device are, and torch allows one.
    found = explain(single.put(network()), x, y, threat=threat, only=("margins", "energies", "boundary"))
    assert found.margins is not None
    assert found.boundary is not None


def test_an_estimator_trains_where_the_device_has_no_double_precision(single: PretendDevice) -> None:
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)).numpy()
    y = (x[:, 0] > x[:, 1]).astype(int)
    assert RobustClassifier(epochs=10, random_state=0).fit(x, y).score(x, y) > 0.8
