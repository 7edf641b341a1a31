"""The evaluation as a whole: what it counts, what it keeps, what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holomorph._utils.cache import Cache
from holomorph.attacks.autoattack import AutoAttackStage
from holomorph.contract.classifier import Classifier
from holomorph.contract.receiving import receive
from holomorph.errors import ConfigError, DataError, HolomorphWarning, ModelError
from holomorph.evaluation.attack import attack
from holomorph.evaluation.evaluate import evaluate
from holomorph.evaluation.inspection import examine
from holomorph.evaluation.results import Results
from holomorph.evaluation.robustbench import robustbench
from holomorph.evaluation.runner import Runner
from holomorph.records.evaluation import EvaluationRecord
from holomorph.threats import ThreatModel
from scenes import THREAT, Scene, X, Y, halves

DISTANCE = [0.4, 0.1, 0.02, 0.2, 0.0]


@pytest.mark.slow
def test_everything_against_a_known_answer() -> None:
    record = evaluate(halves, X, Y, ThreatModel("inf", 0.3))
    assert record.clean == pytest.approx(0.8)
    assert record.robust == pytest.approx(0.2)
    result = record.threats[0]
    assert result.broken_by[4] == "clean"
    assert [name is None for name in result.broken_by] == [True, False, False, False, False]
    assert result.smallest == pytest.approx(DISTANCE, abs=0.01)
    assert result.curve is not None
    for eps, accuracy in zip(result.curve.eps, result.curve.accuracy, strict=True):
        if min(abs(eps - d) for d in DISTANCE) > 0.01:
            assert accuracy == pytest.approx(sum(d > eps for d in DISTANCE) / 5)
    assert [row.robust for row in record.per_class] == pytest.approx([0.25, 0.0])
    names = [attack.name for attack in record.attacks]
    assert names[:4] == ["apgd-ce", "pgd-margin", "fab-t", "square"], "two classes: no targeted ratio loss"
    assert [a.accuracy for a in record.attacks] == sorted((a.accuracy for a in record.attacks), reverse=True)
    assert record.robust_interval.low < 0.2 < record.robust_interval.high


def test_the_union_counts_a_sample_once_and_growing_eps_never_helps() -> None:
    threats = [ThreatModel("inf", 0.05), ThreatModel("inf", 0.15), ThreatModel(2, 0.3)]
    record = evaluate(halves, X, Y, threats, quick=True, checks=False)
    assert [t.robust for t in record.threats] == pytest.approx([0.6, 0.4, 0.2])
    assert record.robust == pytest.approx(0.2)
    assert {a.threat for a in record.attacks} == {"inf:0.05", "inf:0.15", "2:0.3"}


def test_what_is_found_under_one_threat_is_tried_under_the_others_as_what_it_was() -> None:
    near, far = ThreatModel("inf", 0.15), ThreatModel("inf", 0.3)
    first, second = (Results(Classifier(halves), X, Y, threat, halves(X).argmax(1)) for threat in (far, near))
    rows = torch.tensor([1, 3])
    crossed = torch.tensor([[0.49, 0.51], [0.51, 0.49]])
    assert first.submit("square", "black box", rows[:1], crossed[:1]) == 1
    assert first.submit("fmn", "white box", rows[1:], crossed[1:]) == 1
    second.learn(first)
    assert second.broken_by == [None, "square at inf:0.3", None, None, "clean"], "0.21 is out of reach"
    assert second.black.tolist() == [False, True, False, False, False]
    assert not second.white.any()
    assert second.smallest[3] == pytest.approx(0.21)


def test_a_check_fails_when_it_fails_under_any_threat() -> None:
    threats = [ThreatModel("inf", 0.5), ThreatModel("inf", 0.001)]
    record = evaluate(halves, X, Y, threats, quick=True, baseline=halves)
    baseline = record.checks[21]
    assert (baseline.name, baseline.verdict, baseline.value) == ("undefended baseline", "fail", 1.0)
    assert "At inf:0.5: 0.0 %" in baseline.reason
    assert "At inf:0.001: 100.0 %" in baseline.reason


def test_probabilities_from_one_output_are_told_from_logits() -> None:
    record = evaluate(lambda x: (x[:, 1] - x[:, 0]).sigmoid(), X, Y, THREAT, quick=True)
    assert record.checks[12].verdict == "fail"
    assert "sigmoid" in record.checks[12].reason


def test_the_record_comes_back_from_disk(tmp_path: Path) -> None:
    record = evaluate(
        halves, X, Y, ThreatModel("inf", "3/20"), quick=True, checks=False, model_name="halves", out=tmp_path
    )
    assert EvaluationRecord.load(tmp_path / "evaluation.json") == record
    assert record.threats[0].threat.eps == "3/20"
    assert record.quick
    assert record.upper_bound
    assert set(record.versions) >= {"python", "torch", "holomorph", "pyautoattack", "foolbox"}
    assert record.gallery[0].prediction != record.gallery[0].prediction_adversarial
    assert len(record.gallery[0].input) == 2


def test_one_output_is_two_classes() -> None:
    def one(x: Tensor) -> Tensor:
        return x[:, 1] - x[:, 0]

    single = evaluate(one, X, Y, THREAT, quick=True, checks=False)
    column = evaluate(lambda x: one(x)[:, None], X, Y, THREAT, quick=True, checks=False)
    double = evaluate(halves, X, Y, THREAT, quick=True, checks=False)
    assert single.classes == column.classes == 2
    assert single.robust == column.robust == double.robust


def test_classes_beyond_256_are_told_apart_in_half_precision() -> None:
    logits = nn.functional.one_hot(torch.tensor([257, 299, 3]), 300).bfloat16()
    logits[2, 5] = torch.nan
    assert Classifier(lambda _: logits).predictions(torch.zeros(3, 1)).tolist() == [257, 299, -1]


def test_a_model_in_training_mode_is_evaluated_in_evaluation_mode(scene: Scene) -> None:
    model = nn.Sequential(scene.honest, nn.Dropout(0.5), nn.BatchNorm1d(10))
    model[2].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    record = evaluate(model, scene.x[:8], scene.y[:8], THREAT, quick=True)
    assert record.checks[13].verdict == record.checks[17].verdict == "pass"
    assert [m.training for m in (model, model[1], model[2])] == [True, True, False]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.slow
def test_resuming_uses_what_is_there_and_ends_with_the_same_numbers(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = scene.x[:12], scene.y[:12]

    def run(folder: Path | None) -> EvaluationRecord:
        return evaluate(scene.honest, x, y, THREAT, quick=True, checks=False, batch_size=5, out=folder, resume=True)

    calls = []
    real = AutoAttackStage.__call__

    def killed(self: AutoAttackStage, *arguments: object) -> Tensor:
        calls.append(self.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(AutoAttackStage, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    kept = sorted(tmp_path.rglob("*.npz"))
    assert len(kept) == 2
    kept[0].write_bytes(b"damaged")
    calls.extend(["-"] * 10)
    resumed = run(tmp_path)
    assert calls[13:].count("apgd-ce") == 2, "only the batch that was cut off and the damaged one are run"
    monkeypatch.undo()
    fresh = run(None)
    assert resumed.threats == fresh.threats


def test_a_kept_batch_of_another_model_is_not_used(tmp_path: Path, scene: Scene) -> None:
    mine, other = (Cache(tmp_path, Classifier(model).mark(scene.x[:2])) for model in (scene.honest, scene.baseline))
    mine.put("key", found=np.ones(2))
    assert other.get("key") is None
    kept = mine.get("key")
    assert kept is not None
    assert kept["found"].tolist() == [1, 1]


def test_a_function_without_gradients_gets_an_upper_bound() -> None:
    record = evaluate(lambda x: halves(x.detach()), X, Y, ThreatModel("inf", 0.15), quick=True)
    assert record.upper_bound
    assert "no gradients" in record.upper_bound_reason
    assert record.robust == pytest.approx(0.4)
    assert {a.access for a in record.attacks} == {"black box"}
    assert record.checks[8].verdict == "fail"


def test_robustbench_fields(scene: Scene) -> None:
    record = evaluate(scene.honest, scene.x[:8], scene.y[:8], THREAT, quick=True, checks=False)
    with pytest.raises(DataError, match="full AutoAttack"):
        robustbench(record)
    attack = record.attacks[0].model_copy(update={"accuracy": 0.5})
    full = record.model_copy(update={"quick": False, "upper_bound": False, "attacks": (attack,), "robust": 0.375})
    exported = robustbench(full, name="mine", authors="us")
    assert (exported["autoattack_acc"], exported["external"]) == ("50.00", "37.50")
    assert exported["name"] == "mine"
    assert exported["threat_model"] == "Linf"
    assert exported["eps"] == "0.1"
    assert not exported["unreliable"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": 255 * X}, DataError, "Divide 8-bit images by 255"),
        ({"y": Y + 1}, DataError, "subtract 1"),
        ({"y": 2 * Y - 1}, DataError, "Write -1 and 1 as 0 and 1"),
        ({"y": Y.float()}, DataError, "one whole number 0..K-1 a sample"),
        ({"x": "samples"}, DataError, "The samples are not numbers"),
        ({"y": ["cat"] * 5}, DataError, "The labels are not numbers"),
        ({"y": Y[:3]}, DataError, "5 samples but 3 labels"),
        ({"y": Y + 5}, DataError, r"must lie in 0\.\.1"),
        ({"threat": []}, ConfigError, "no threat"),
        ({"threat": [THREAT, ThreatModel("inf", 0.1, (0, 2))]}, ConfigError, "different boxes"),
        ({"n": 0}, ConfigError, "at least 1"),
        ({"model": lambda x: x.sum()}, ModelError, "shape"),
        ({"model": lambda x: x / 0}, ModelError, "NaN or infinite"),
        ({"model": lambda x: "logits"}, ModelError, "The model returned str, not logits"),
        ({"model": lambda x: x + 0j}, ModelError, "complex"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_sentence(
    change: dict[str, object], error: type[Exception], words: str
) -> None:
    given: dict[str, object] = {"model": halves, "x": X, "y": Y, "threat": THREAT, "n": None} | change
    with pytest.raises(error, match=words):
        evaluate(given["model"], given["x"], given["y"], given["threat"], n=given["n"], quick=True)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_labels_may_be_whole_numbers_of_any_width(dtype: torch.dtype) -> None:
    wide = evaluate(halves, X, Y, THREAT, quick=True, checks=False)
    assert evaluate(halves, X, Y.to(dtype), THREAT, quick=True, checks=False).threats == wide.threats
    assert torch.equal(*(attack(halves, X, y, threat=THREAT).broken for y in (Y, Y.to(dtype))))


@pytest.mark.parametrize(("name", "classes"), [("apgd-dlr", 3), ("apgd-t", 4)])
def test_an_attack_that_needs_more_classes_is_refused(name: str, classes: int) -> None:
    with pytest.raises(ConfigError, match=f"{name} needs {classes} classes, the model has 2"):
        attack(halves, X, Y, threat=THREAT, name=name)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused(batch_size: int) -> None:
    with pytest.raises(ConfigError, match=rf"batch_size is {batch_size}; it must be at least 1\."):
        evaluate(halves, X, Y, THREAT, checks=False, batch_size=batch_size)
    with pytest.raises(ConfigError, match=rf"batch_size is {batch_size}; it must be at least 1\."):
        attack(halves, X, Y, threat=THREAT, batch_size=batch_size)


def test_fewer_samples_than_asked_are_used_with_a_warning() -> None:
    with pytest.warns(HolomorphWarning, match="100 samples were asked for, but there are 5"):
        received = receive(halves, X, Y, THREAT, n=100)
    assert len(received.x) == 5


def test_the_first_look_sees_zero_gradients_and_noise(scene: Scene) -> None:
    seen = examine(Classifier(scene.honest), scene.x, scene.y)
    assert (seen.classes, seen.randomised, seen.masked, seen.differentiable) == (10, False, False, True)
    noisy = examine(Classifier(lambda x: scene.honest(x) + torch.randn(len(x), 10)), scene.x, scene.y)
    assert noisy.randomised


def test_the_runner_gives_the_same_proposals_in_any_order_of_batches(scene: Scene) -> None:
    attack = AutoAttackStage("apgd-ce", THREAT, 10, steps=5)
    classifier = Classifier(scene.honest)
    whole = Runner(0, batch_size=4).propose(attack, THREAT, classifier, scene.x[:8], scene.y[:8])
    last = Runner(0, batch_size=4).propose(attack, THREAT, classifier, scene.x[4:8], scene.y[4:8])
    assert torch.equal(whole[4:], last)
