"""Attacks, evaluations and explanations on a pretend accelerator find what the CPU finds."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from holomorph.attacks.base import Attack
from holomorph.attacks.bisected import Bisected
from holomorph.attacks.numerical import NumericalPgd
from holomorph.attacks.on_grid import OnGridPgd
from holomorph.attacks.pgd import Pgd
from holomorph.attacks.surrogate import Surrogate
from holomorph.attacks.targeted import Targeted
from holomorph.certification.certify import certify
from holomorph.contract.classifier import Classifier
from holomorph.evaluation.attack import attack
from holomorph.evaluation.evaluate import evaluate
from holomorph.explanation.explain import explain
from holomorph.sklearn import HolomorphicClassifier, RobustClassifier, common
from holomorph.threats import ThreatModel
from holomorph.threats.grid import Grid
from holomorph.training.devices import one_device
from holomorph.transferability.transfer import transfer
from pretend_device import PretendDevice, pretend_fabric
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


@pytest.mark.slow
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_an_attack_finds_what_the_cpu_finds(single: PretendDevice, threat: ThreatModel) -> None:
    x, y = task(network())
    there = attack(network(), x, y, threat=threat)
    here = attack(single.put(network()), x, y, threat=threat)
    torch.testing.assert_close(here.adversarial.cpu(), there.adversarial, rtol=0, atol=1e-5)
    assert torch.equal(here.broken.cpu(), there.broken)


#: Every attack of our own, by threat and how long it is to go on.
OWN: dict[str, Callable[[ThreatModel, int], Attack]] = {
    "pgd": lambda threat, steps: Pgd(threat, steps=steps),
    "cross-entropy, corners": lambda threat, steps: Pgd(threat, "cross-entropy", steps, restarts=2, corners=True),
    "far": lambda threat, steps: Pgd(threat, "scaled", steps, far=True),
    "targeted": lambda threat, steps: Targeted(threat, targets=1, steps=steps),
    "bisected": lambda threat, steps: Bisected(threat, steps=steps, halvings=steps),
    "numerical": lambda threat, steps: NumericalPgd(threat, steps=steps, directions=2),
    "on the grid": lambda threat, steps: OnGridPgd(
        threat, Grid(torch.zeros(6).double(), torch.full((6,), 1 / 255).double()), steps=steps
    ),
}
IMITATING = {"surrogate": lambda threat, steps: Surrogate(threat, rounds=1, epochs=steps, queries=1)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "threat"),
    [*itertools.product(OWN, THREATS), pytest.param("surrogate", THREATS[0], marks=pytest.mark.slow)],
    ids=str,
)
def test_a_step_of_an_attack_neither_waits_nor_copies(pretend: PretendDevice, name: str, threat: ThreatModel) -> None:
    classifier, (x, y) = Classifier(pretend.put(network())), pretend.put(task(network()))
    counts = []
    for steps in (4, 4, 12):
        pretend.reset()
        (OWN | IMITATING)[name](threat, steps)(classifier, x, y, 0)
        counts.append((pretend.waits.total(), pretend.copies.total()))
    assert counts[1] == counts[2], (pretend.waits, pretend.copies)


@pytest.mark.parametrize(
    "threat", [pytest.param(t, marks=pytest.mark.campaign if n else pytest.mark.slow) for n, t in enumerate(THREATS)]
)
def test_explanations(single: PretendDevice, threat: ThreatModel) -> None:
    x, y = task(network(), samples=16)
    found = explain(single.put(network()), x, y, threat=threat)
    there = explain(network(), x, y, threat=threat, only=("harmonicity",))
    assert found.margins is not None
    assert found.boundary is not None
    assert found.harmonicity is not None
    assert there.harmonicity is not None
    assert found.harmonicity.weak_residual == pytest.approx(there.harmonicity.weak_residual, rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_transfer_between_two_networks(single: PretendDevice, threat: ThreatModel) -> None:
    x, y = task(network())
    there = transfer({"a": network(), "b": network(1)}, x, y, threat=threat, steps=5)
    here = transfer({"a": single.put(network()), "b": single.put(network(1))}, x, y, threat=threat, steps=5)
    assert here.clean == there.clean
    for mine, theirs in zip(here.attacked, there.attacked, strict=True):
        torch.testing.assert_close(torch.tensor(mine.increase), torch.tensor(theirs.increase), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["intervals", "lines", "smoothing"])
def test_certificates_where_the_device_has_no_double_precision(single: PretendDevice, method: str) -> None:
    x, y = task(network())
    there, here = (
        certify(model, x, y, THREATS, method=method, draws=200)  # type: ignore[arg-type]
        for model in (network(), single.put(network()))
    )
    assert [t.radii for t in here.threats] == [pytest.approx(t.radii, rel=1e-5) for t in there.threats]


@pytest.mark.parametrize("doubles", [True, False])
@pytest.mark.parametrize("name", ["robust", "network", "fock", "polynomial"])
def test_estimators_train_where_there_is_double_precision(monkeypatch: Any, name: str, doubles: bool) -> None:
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)).numpy()
    y = (x[:, 0] > x[:, 1]).astype(int)
    estimator: Any = RobustClassifier(epochs=4, random_state=0)
    if name != "robust":
        estimator = HolomorphicClassifier(solver=name, epochs=4, random_state=0)  # type: ignore[arg-type]
    with PretendDevice(doubles) as device:
        engines = {"auto": pretend_fabric(), "cpu": one_device("cpu")}
        monkeypatch.setattr(common, "one_device", engines.get)
        assert estimator.fit(x, y).score(x, y) > 0.65
        assert bool(device.copies) == (doubles and name in ("robust", "network"))
