"""Comparisons on two blobs in the plane: small enough to run for real."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from holomorph.comparison import attacks, compare, comparison_table, frontiers
from holomorph.comparison.budget import Budget
from holomorph.data import Splits
from holomorph.errors import ConfigError
from holomorph.records.comparison import ComparisonRecord
from holomorph.rules import parse
from holomorph.threats import ThreatModel

#: The guard may see a fall on forty samples; what it does about it is tested elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore:In epoch:holomorph.errors.HolomorphWarning")

THREATS = [ThreatModel("inf", 0.1), ThreatModel(2, 0.1)]
RULES = ["plain", "nfgsm", "finite(weight=0.3)"]


@pytest.fixture(scope="module")
def blobs():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(240) % 2
    centre = torch.tensor([[0.35, 0.35], [0.65, 0.65]])[y]
    x = (centre + 0.08 * torch.randn(240, 2, generator=generator)).clamp(0, 1)
    return Splits("blobs", x[:160], y[:160], x[160:200], y[160:200], x[200:], y[200:], (0.0, 1.0), 2, ("low", "high"))


def run(blobs, out, **settings):
    return compare(
        blobs, RULES, THREATS, budget="8epochs", seeds=2, out=out, batch_size=32, lr=1e-2, resume=True, **settings
    )


@pytest.fixture(scope="module")
def finished(blobs, tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison")
    return run(blobs, out), out


def accuracies(record):
    return [(r.text, run.seed, run.epochs, run.right) for r in record.rules for run in r.runs]


@pytest.mark.slow
def test_every_rule_is_trained_and_attacked(finished):
    record, out = finished
    assert [r.text for r in record.rules] == RULES
    assert record.quantities == ("clean", "inf:0.1", "2:0.1", "union")
    for rule in record.rules:
        assert [r.seed for r in rule.runs] == [0, 1]
        assert rule.accuracies["clean"].value > 0.8
        for one in rule.runs:
            union = [a == b == "1" for a, b in zip(one.right["inf:0.1"], one.right["2:0.1"], strict=True)]
            assert one.robust["union"] == sum(union) / 40
            assert one.robust["union"] <= one.robust["inf:0.1"] <= one.clean
        value = rule.accuracies["union"]
        assert value.low <= value.value <= value.high
        assert value.value == pytest.approx(sum(r.robust["union"] for r in rule.runs) / 2)
    loaded = ComparisonRecord.load(out / "comparison.json")
    assert loaded.model_dump_json() == record.model_dump_json()
    assert loaded.class_names == ("low", "high")
    assert comparison_table(loaded).endswith("Classes: low, high.")


def test_differences_are_paired_and_antisymmetric(finished):
    record, _ = finished
    one, other = (record.difference(*pair, "union").interval for pair in (RULES[:2], RULES[1::-1]))
    assert one.value == pytest.approx(-other.value)
    assert one.low == pytest.approx(-other.high)
    accuracy = {rule.text: rule.accuracies["union"].value for rule in record.rules}
    assert one.value == pytest.approx(accuracy[RULES[0]] - accuracy[RULES[1]])
    assert one.low < one.value < one.high


@pytest.mark.slow
def test_a_killed_comparison_ends_with_the_same_numbers(blobs, finished, tmp_path, monkeypatch):
    from holomorph.training.loop import Loop

    whole, epochs = Loop.run_epoch, []

    def run_epoch(self, *arguments):
        if len(epochs) == 21:  # in the middle of the third run
            raise KeyboardInterrupt
        epochs.append(1)
        return whole(self, *arguments)

    monkeypatch.setattr(Loop, "run_epoch", run_epoch)
    with pytest.raises(KeyboardInterrupt):
        run(blobs, tmp_path)
    monkeypatch.undo()
    assert len(list(tmp_path.glob("*/seed-*/run-val.json"))) == 2
    assert accuracies(run(blobs, tmp_path)) == accuracies(finished[0])


def test_finished_runs_are_not_repeated_nor_mixed(blobs, finished, monkeypatch):
    record, out = finished
    monkeypatch.setattr("holomorph.comparison.runs.fit", None)  # would fail if a run were trained again
    assert accuracies(run(blobs, out)) == accuracies(record)
    with pytest.raises(ConfigError, match=r"was started with activation = gelu, not tanh\. Use another folder"):
        run(blobs, out, activation="tanh")


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"budget": "1epochs"}, "budget = 2 epochs, not 1 epochs"),
        ({"activation": "tanh"}, "activation = gelu, not tanh"),
        ({"model": "package:factory"}, "model = mlp, not package:factory"),
        ({"lr": 0.1}, r"training = {'batch_size': 80, 'lr': 0\.004}, not {'batch_size': 80, 'lr': 0\.1}"),
        ({"threats": ThreatModel("inf", 0.2)}, r"threat = inf:0\.1, not inf:0\.2"),
    ],
)
def test_trainings_of_another_plan_are_not_taken(blobs, tmp_path, monkeypatch, other, difference):
    common = {"data": blobs, "rules": ["plain"], "threats": THREATS, "budget": "2epochs", "seeds": 1, "batch_size": 80}
    compare(**common, out=tmp_path)
    monkeypatch.setattr("holomorph.comparison.runs._Plan.network", lambda *_: None)  # nothing is trained
    with pytest.raises(ConfigError, match=rf"was started with {difference}\. Use another folder\."):
        compare(**{**common, **other}, split="test", out=tmp_path, resume=True)
    assert not list(tmp_path.glob("*/*/run-test.json"))


def test_the_cost_is_that_of_the_network_which_was_trained(blobs, tmp_path):
    rules = ["dirichlet", "dirichlet(observable=logits)"]
    record = compare(blobs, rules, THREATS[0], budget="1epochs", seeds=1, out=tmp_path, batch_size=80)
    one, two = (rule.cost for rule in record.rules)
    assert two == pytest.approx(one + 1 / 3)  # half a backward pass more for the second logit


def test_the_test_split_gets_the_evaluation(blobs, tmp_path, monkeypatch):
    # the real evaluation with its quick settings: the full ones take 20 s
    monkeypatch.setattr("holomorph.comparison.attacks.full", partial(attacks.full, quick=True, checks=False))
    record = compare(
        blobs, ["nfgsm"], THREATS[0], budget="4epochs", seeds=1, split="test", out=tmp_path, n=4, batch_size=32, lr=1e-2
    )
    assert record.samples == 4
    assert record.quantities == ("clean", "inf:0.1")
    assert "AutoAttack" in record.attack
    assert (tmp_path / "nfgsm" / "seed-0" / "evaluation.json").is_file()
    rule = record.rules[0]
    assert rule.runs[0].robust["inf:0.1"] <= rule.runs[0].clean


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("threat", [ThreatModel("inf", 1.0), ThreatModel(2, 2.0), ThreatModel(1, 2.0)], ids=str)
def test_a_network_that_keeps_nothing_is_attacked_no_further(threat, wrong):
    x = torch.tensor([[0.6, 0.4], [0.4, 0.6]])
    found = attacks.tuning(torch.nn.Identity(), x, torch.tensor([0, 1]) ^ int(wrong), [threat]).right
    assert found["clean"].tolist() == [not wrong] * 2
    assert found["union"].tolist() == [False] * 2


def test_a_failed_check_is_kept_with_the_run(blobs):
    class Quantised(torch.nn.Module):
        """Right almost everywhere and without a gradient anywhere."""

        def forward(self, x):
            high = (x.sum(1) > 1).float()
            return torch.stack([1 - high, high], 1) + 0 * x.sum(1, keepdim=True)

    found = attacks.full(Quantised(), blobs.x_test[:4], blobs.y_test[:4], THREATS[:1], quick=True)
    assert any("gradient" in name for name in found.failed_checks)


def test_table_and_plots(finished, tmp_path):
    record, _ = finished
    text = comparison_table(record)
    lines = text.splitlines()
    assert lines[0] == "| rule | clean | inf:0.1 | 2:0.1 | union of all | time | passes |"
    assert lines[2 + len(RULES) :] == ["", f"Classes: {', '.join(record.class_names)}."]
    ranked = sorted(record.rules, key=lambda r: -r.accuracies["union"].value)
    assert f"`{ranked[0].text}` *" in lines[2]
    assert f"{100 * ranked[0].accuracies['clean'].value:.1f} (" in lines[2]
    for path in frontiers(record, tmp_path):
        assert path.read_text().count("<svg") == 1


def test_time_budgets_are_noted_and_kept(blobs, tmp_path):
    record = compare(
        blobs, ["plain", "free(repeats=4)"], THREATS[0], budget="0.2s", seeds=1, out=tmp_path, batch_size=80
    )
    epochs = {rule.text: rule.runs[0].epochs for rule in record.rules}
    assert epochs["plain"] > epochs["free(repeats=4)"] >= 1
    assert int((tmp_path / "plain" / "epochs.txt").read_text()) == epochs["plain"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rules": ["plain", "pdg"]}, "Unknown rule 'pdg'. Did you mean 'pgd'"),
        ({"rules": ["plain", "plain"]}, "each rule once"),
        ({"rules": []}, "at least one rule"),
        ({"budget": "6"}, "Cannot read the budget '6'"),
        ({"budget": "0.5epochs"}, "Cannot read the budget"),
        ({"seeds": 0}, "at least once"),
        ({"split": "train"}, "use 'val' for tuning"),
        ({"threats": []}, "There is no threat"),
        ({"budget": "1s", "batch_size": 0}, "batch_size is 0; it must be at least 1."),
        ({"n": -1}, "n is -1; it must be at least 1."),
        ({"model": "cn"}, "Unknown model 'cn'"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(blobs, tmp_path, settings, message):
    arguments = {"rules": ["plain"], "threats": THREATS, "out": tmp_path / "new", **settings}
    with pytest.raises(ConfigError) as caught:
        compare(blobs, **arguments)
    assert message in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_command(blobs, tmp_path, capsys):
    import numpy as np

    from holomorph.cli import main

    arrays = {f"{a}_{part}": getattr(blobs, f"{a}_{part}").numpy() for a in "xy" for part in ("train", "val", "test")}
    np.savez(tmp_path / "blobs.npz", **arrays)
    command = f"compare --data npz:{tmp_path}/blobs.npz --box 0 1 --rules plain,finite(weight=0.3,segments=1) --seeds 1"
    with pytest.raises(SystemExit) as stop:
        main(
            [*command.split(), "--budget", "2epochs", "--threat", "inf:0.05", "--out", str(tmp_path / "out"), "--quiet"]
        )
    assert stop.value.code == 0
    assert "| `finite(weight=0.3,segments=1)`" in capsys.readouterr().out
    saved = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert saved["kind"] == "comparison"
    assert (tmp_path / "out" / "frontier-cost.svg").is_file()


class Ticking(torch.autograd.Function):
    """Passes on what it gets, and moves a clock by one at every pass either way."""

    @staticmethod
    def forward(ctx, x, clock):
        ctx.clock = clock
        clock[0] += 1
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.clock[0] += 1
        return gradient, None


@pytest.mark.parametrize(
    "text", ["plain", "pgd(steps=2)", "dirichlet(lazy=2)", "dirichlet(lazy=7)", "finite", "finite(segments=5)", "nfgsm"]
)
def test_a_time_budget_is_spent_whatever_a_rule_does_when(text, blobs, monkeypatch):
    """By a clock that counts passes: what a training takes is the budget within 3 percent."""
    clock = [0.0]

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(Ticking.apply(x, clock))

    monkeypatch.setattr("holomorph.comparison.budget.time.perf_counter", lambda: clock[0])
    seconds, steps, model = 40_000.0, 5, Network()
    epochs = Budget(seconds=seconds).epochs_for(parse(text, THREATS[0]), model, blobs, 32)
    rule, trial, before = parse(text, THREATS[0]), 140, clock[0]
    for k in range(trial):
        rule.progress = k / trial
        rule(model, blobs.x_train[:32], blobs.y_train[:32]).backward()
    assert epochs * steps * (clock[0] - before) / trial == pytest.approx(seconds, rel=0.03)
    assert clock[0] > 0


def test_other_content_under_the_same_name_is_refused(blobs, tmp_path):
    settings = {"budget": "1epochs", "seeds": 1, "out": tmp_path, "batch_size": 80, "resume": True}
    compare(blobs, ["plain"], "inf:0.1", **settings)
    for changed in ({"x_val": blobs.x_val.flip(0)}, {"box": (0.0, 2.0)}):
        with pytest.raises(ConfigError, match=r"was started with (content of the data|box) = "):
            compare(replace(blobs, **changed), ["plain"], "inf:0.1", **settings)
