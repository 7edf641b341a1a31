import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from holomorph.cli import exit_status
from holomorph.errors import ConfigError
from holomorph.records.training import TrainRecord
from holomorph.rules import Plain
from holomorph.training.folder import RunFolder


def arguments(folder, *more):
    return ["train", "--data", f"npz:{folder / 'data.npz'}", "--threat", "inf:0.05", "--epochs", "2",
            "--quiet", "--out", str(folder / "run"), *more]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two classes in the unit square, as the user's own file."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).random((80, 2))
    y = (x[:, 0] > x[:, 1]).astype(int)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    return tmp_path


def test_train_writes_a_run_with_a_baseline_of_the_same_start(folder, capsys):
    assert exit_status(arguments(folder)) == 0
    heard = capsys.readouterr().err
    assert "The inputs' box is taken from the data: [" in heard
    assert "of the validation samples predicted correctly, " in heard
    run = RunFolder.open(folder / "run")
    record = TrainRecord.load(folder / "run" / "train.json")
    assert record.rule == "finite"
    assert record.model == "mlp"
    assert record.measured_cost > 0
    assert len(record.baseline.history) == 2
    untrained = run.config.build_model()
    baseline = run.load_model("baseline")
    Plain()(baseline, torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
    assert [p.shape for p in baseline.parameters()] == [p.shape for p in untrained.parameters()]
    assert not torch.equal(baseline[1].weight, run.load_model()[1].weight)


def test_no_baseline(folder):
    assert exit_status(arguments(folder, "--no-baseline")) == 0
    assert not RunFolder.open(folder / "run").has_baseline
    assert TrainRecord.load(folder / "run" / "train.json").measured_cost is None


def test_the_same_seed_gives_the_same_weights_and_force_replaces(folder):
    assert exit_status(arguments(folder, "--no-baseline")) == 0
    first = (folder / "run" / "model.safetensors").read_bytes()
    assert exit_status(arguments(folder, "--no-baseline")) == 2
    assert exit_status(arguments(folder, "--no-baseline", "--force")) == 0
    assert (folder / "run" / "model.safetensors").read_bytes() == first
    assert exit_status(arguments(folder, "--no-baseline", "--force", "--seed", "1")) == 0
    assert (folder / "run" / "model.safetensors").read_bytes() != first


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--rule", "dirichle"], "Unknown rule 'dirichle'. Did you mean 'dirichlet'?"),
        (["--rule", "dirichlet(wait=2)"], "Did you mean 'weight'?"),
        (["--rule", "dirichlet(weight"], "Write it as NAME or NAME(setting=value, ...)"),
        (["--rule", "pgd(steps=2.5)"], "steps is 2.5; it must be a whole number."),
        (["--threat", "l7:1"], "Unknown norm 'l7'. Use inf, 2 or 1."),
        (["--threat", "inf:50"], "exceeds the box"),
        (["--threat", "inf:0"], "eps must be positive"),
        (["--model", "cn"], "Unknown model 'cn'. Did you mean 'cnn'?"),
        (["--model", "cnn"], "Use the model 'mlp'."),
        (["--model", "nowhere:make"], "Name it as package.module:factory."),
        (["--activation", "jelu"], "Unknown activation 'jelu'. Did you mean"),
        (["--data", "digit"], "Did you mean 'digits'?"),
        (["--box", "0", "0.5"], "outside the box [0, 0.5]"),
        (["--epochs", "many"], "Invalid value for '--epochs'"),
        (["--lr", "-1"], "The learning rate is -1.0; it must be positive."),
        (["--optimizer", "adan"], "Unknown optimizer 'adan'. Did you mean 'adam'"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(folder, capsys, more, message):
    assert exit_status(arguments(folder, *more)) == 2
    heard = [line for line in capsys.readouterr().err.splitlines() if "box is taken from" not in line]
    assert len(heard) == 1
    assert message in heard[0]
    assert not (folder / "run").exists()


def test_bad_input_does_not_destroy_an_earlier_run(folder):
    assert exit_status(arguments(folder, "--no-baseline")) == 0
    before = (folder / "run" / "model.safetensors").read_bytes()
    assert exit_status(arguments(folder, "--force", "--rule", "nonsense")) == 2
    assert exit_status(arguments(folder, "--force", "--lr", "-1")) == 2
    assert (folder / "run" / "model.safetensors").read_bytes() == before


def test_a_users_own_model(folder, capsys):
    (folder / "mine.py").write_text("from torch import nn\ndef make(shape, classes):\n    return nn.Linear(2, 2)\n"
                                    "def wrong():\n    return 3\n")  # fmt: skip
    assert exit_status(arguments(folder, "--model", "mine:make", "--no-baseline")) == 0
    with pytest.raises(ConfigError, match="If you know it, give --model mine:make, or --trust"):
        RunFolder.open(folder / "run").load_model()
    assert isinstance(RunFolder.open(folder / "run").load_model(trusted="mine:make"), nn.Linear)
    assert exit_status(arguments(folder, "--model", "mine:wrong", "--force")) == 2
    assert "returned int, not a torch.nn.Module" in capsys.readouterr().err


def test_a_run_that_is_not_there_or_not_finished(folder, capsys):
    assert exit_status(["evaluate", "nowhere", "--data", "digits"]) == 2
    assert exit_status(arguments(folder, "--no-baseline")) == 0
    (folder / "run" / "model.safetensors").unlink()
    assert exit_status(["evaluate", str(folder / "run"), "--quiet"]) == 2
    assert "the training was not finished" in capsys.readouterr().err


def test_our_own_mistakes_exit_with_1_and_ask_for_a_report(folder, capsys, monkeypatch):
    monkeypatch.setattr("holomorph.cli.train.EPOCHS", None)
    asked = ["train", "--data", f"npz:{folder / 'data.npz'}", "--threat", "inf:0.05", "--out", str(folder / "run")]
    assert exit_status(asked) == 1
    assert "this is a mistake of ours" in capsys.readouterr().err


@pytest.mark.slow
def test_interrupting_leaves_a_checkpoint_that_resumes_to_the_same_weights(folder):
    whole = arguments(folder, "--no-baseline", "--batch-size", "8")
    assert exit_status(whole) == 0
    expected = (folder / "run" / "model.safetensors").read_bytes()
    code = (
        "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it\n"
        "import holomorph.training.loop as loop\nkeep = loop.Loop.save\n"
        "def save(self):\n    keep(self)\n    if len(self.history) == 1: os.kill(os.getpid(), signal.SIGINT)\n"
        f"loop.Loop.save = save\nfrom holomorph.cli import main\nmain({[*whole, '--force']!r})\n"
    )
    stopped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert stopped.returncode == 128 + signal.SIGINT
    assert "with --resume goes on from there" in stopped.stderr
    assert not (folder / "run" / "model.safetensors").exists()
    assert exit_status([*whole, "--resume"]) == 0
    assert (folder / "run" / "model.safetensors").read_bytes() == expected
    assert json.loads((folder / "run" / "config.json").read_text())["kind"] == "run"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("more", "difference"),
    [
        (["--threat", "inf:0.1"], "threat = inf:0.05, not inf:0.1"),
        (["--activation", "tanh"], "activation = gelu, not tanh"),
        (["--epochs", "3"], "epochs = 2, not 3"),
        (["--seed", "1"], "seed = 0, not 1"),
        (["--box", "0", "1"], r"box = [0.00"),
        (["--data", "digits"], "data = npz:"),
    ],
)
def test_resuming_with_other_settings_is_refused_and_changes_nothing(folder, capsys, more, difference):
    assert exit_status(arguments(folder, "--no-baseline")) == 0
    before = contents(folder / "run")
    assert exit_status(arguments(folder, "--no-baseline", "--resume", *more)) == 2
    heard = capsys.readouterr().err
    assert f"was started with {difference}" in heard
    assert "Resume with the same settings, or give --force to start anew." in heard
    assert contents(folder / "run") == before


def test_resuming_takes_everything_from_the_run(folder, capsys):
    assert exit_status(arguments(folder)) == 0
    weights = (folder / "run" / "baseline.safetensors").read_bytes()
    (folder / "run" / "baseline.safetensors").unlink()
    assert exit_status(["train", "--resume", "--out", str(folder / "run"), "--quiet"]) == 0
    assert (folder / "run" / "baseline.safetensors").read_bytes() == weights
    assert exit_status(["train", "--resume", "--out", str(folder / "data.npz"), "--quiet"]) == 2
    assert exit_status(["train", "--resume", "--out", str(folder), "--quiet"]) == 2
    assert "is no run of holomorph and will not be replaced" in capsys.readouterr().err


@pytest.mark.slow
def test_the_package_runs_as_a_module():
    called = subprocess.run(
        [sys.executable, "-m", "holomorph", "train", "--rule", "nonsense", "--out", "nowhere"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert called.returncode == 2
    assert "nonsense" in called.stderr
