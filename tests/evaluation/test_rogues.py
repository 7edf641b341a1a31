"""Models built to fool an evaluation: each trips its check, and none gets away with its robustness."""

import pytest
import torch
from torch import nn

import rogues
from holomorph.contract.classifier import Classifier
from holomorph.errors import HolomorphWarning
from holomorph.evaluation.evaluate import evaluate
from holomorph.records.evaluation import EvaluationRecord
from holomorph.threats import ThreatModel
from scenes import THREAT, Scene, digits, train

SAMPLES = 32

#: What fails, and how far above the honest value the reported one may lie.
GALLERY: dict[str, tuple[type[nn.Module], set[int], float]] = {
    "zero gradient": (rogues.ZeroGradient, {2, 5, 8, 24}, 0.04),
    "reversed gradient": (rogues.Reversed, {2, 5, 24}, 0.04),
    "logits times 1000": (rogues.Loud, {8}, 0.0),
    "probabilities": (rogues.Probabilities, {13}, 0.0),
    "noise": (rogues.Noisy, {10, 14}, 1.0),
    "quantising": (rogues.Quantising, {2, 5, 8, 24}, 0.0),
    "optimises inside": (rogues.OptimisesInside, {15}, 0.04),
    "detached": (rogues.Detached, {9}, 0.04),
    "depends on the batch": (rogues.BatchDependent, {25}, 0.0),
    "learns while attacked": (rogues.Learns, {18}, 0.0),
    "shattered gradient": (rogues.Shattered, {24}, 0.04),
    "remembers": (rogues.Remembers, {25}, 0.0),
    "later otherwise": (rogues.LaterOtherwise, {25}, 0.0),
    "off the grid": (rogues.OffGrid, {24}, 0.04),
    "hard votes": (rogues.Votes, {24}, 0.07),
    "otherwise under gradients": (rogues.GradientModeDependent, {24}, 0.04),
    "asked twice": (rogues.Repeats, {25}, 0.0),
    "keeps files": (rogues.KeepsFiles, {25}, 0.0),
}


@pytest.fixture(scope="module")
def honest(scene: Scene) -> EvaluationRecord:
    return evaluate(scene.honest, scene.x[:SAMPLES], scene.y[:SAMPLES], THREAT, quick=True, baseline=scene.baseline)


def tripped(record: EvaluationRecord) -> set[int]:
    return {check.number for check in record.checks if check.verdict in ("warn", "fail")}


def test_the_honest_network_trips_nothing(honest: EvaluationRecord) -> None:
    assert tripped(honest) == set()
    assert honest.trustworthy
    assert len(honest.checks) == 26
    assert [check.number for check in honest.checks] == list(range(1, 27))
    assert honest.robust < honest.clean


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_a_rogue_trips_its_check_and_is_bounded(name: str, scene: Scene, honest: EvaluationRecord) -> None:
    rogue, numbers, slack = GALLERY[name]
    record = evaluate(rogue(scene.honest), scene.x[:SAMPLES], scene.y[:SAMPLES], THREAT, quick=True)
    assert numbers <= {check.number for check in record.failed}
    assert record.robust <= honest.robust + slack


def test_a_wrong_range_leaves_the_baseline_unbroken(scene: Scene) -> None:
    threat = ThreatModel("inf", THREAT.eps, (0.0, 255.0))
    x, y = 255 * scene.x[:SAMPLES], scene.y[:SAMPLES]
    with pytest.warns(HolomorphWarning, match="less than a thousandth of the box"):
        record = evaluate(
            rogues.WrongRange(scene.honest), x, y, threat, quick=True, baseline=rogues.WrongRange(scene.baseline)
        )
    assert tripped(record) == {22}
    assert record.robust == record.clean


def test_every_check_says_what_it_saw_and_where_it_comes_from(honest: EvaluationRecord) -> None:
    for check in honest.checks:
        assert check.reason.endswith(".")
        assert check.guards
        assert check.source
        assert (check.value is None) == (check.verdict == "not run")


def test_catastrophic_overfitting_shows_in_the_alignment() -> None:
    """A kinked model whose gradient turns round inside the ball, as after single-step training gone wrong."""

    class Kinked(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            wave = (x * 60).sin().sum(1)
            return torch.stack([1 + wave, -1 - wave], 1)

    x = torch.rand(32, 20, generator=torch.Generator().manual_seed(0))
    record = evaluate(Kinked(), x, Kinked()(x).argmax(1), THREAT, quick=True)
    alignment = record.checks[20]
    assert alignment.name == "gradient alignment"
    assert alignment.verdict in ("warn", "fail")
    assert alignment.value is not None
    assert abs(alignment.value) < 0.1


@pytest.mark.slow
def test_a_smooth_convolutional_network_trips_nothing(scene: Scene) -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 16, 3, stride=2), nn.GELU(), nn.Flatten(), nn.Linear(144, 10)
        return train(*digits(slice(1400)), 0.1, 30, nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *layers))

    threats = [ThreatModel("inf", 0.05), ThreatModel(2, 0.5)]
    record = evaluate(network(), scene.x[:24], scene.y[:24], threats, quick=True)
    assert tripped(record) == set(), [c for c in record.checks if c.verdict in ("warn", "fail")]
    assert "At 2:0.5:" in record.checks[0].reason, "every threat is looked at"


def test_the_audit_forgives_rounding_and_nothing_more() -> None:
    """A margin that changes in the inputs' last bit is a tie, whatever the size of the logits; more is a prediction."""
    weight = torch.randn(64, generator=torch.Generator().manual_seed(0))
    x = torch.rand(1, 64, generator=torch.Generator().manual_seed(1))
    y = torch.tensor([0])

    def model(z: torch.Tensor, shift: float = 0.0) -> torch.Tensor:
        m = (z - x) @ weight + z @ weight - x @ weight  # large terms cancel: at x the margin is rounding alone
        return torch.stack([shift + m / 2, shift - m / 2], 1)

    for offset, sign in ((0.0, 0.0), (1e-3, 1.0), (-1e-3, -1.0)):
        moved = x + offset * weight.sign() / weight.abs().sum()
        assert Classifier(model).margins(moved, y).sign().tolist() == [sign]
    loud = Classifier(lambda z: model(z, 2.0**23))  # one unit in the last place is 1
    assert loud.margins(x - 4 * weight.sign() / weight.abs().sum(), y).sign().tolist() == [-1.0]
    assert Classifier(lambda z: z * torch.nan).margins(x, y).tolist() == [-1.0]
