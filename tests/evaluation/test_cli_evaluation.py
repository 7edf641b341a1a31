"""The commands evaluate and audit, run as a user runs them but in this process."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from holomorph.cli import main
from holomorph.records.evaluation import EvaluationRecord
from scenes import Scene

FACTORY = """
from torch import nn

def small():
    return nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 10))

def single():
    return nn.Linear(3, 1)

class Cut(nn.Sequential):
    def forward(self, x):
        return super().forward(x.detach())

def cut():
    return Cut(*small())
"""


@pytest.fixture
def folder(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a factory, weights and data, as a user would have them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("disguised_models.py").write_text(FACTORY)
    save_file(scene.honest.state_dict(), "honest.safetensors")
    torch.save(scene.baseline.state_dict(), "baseline.pt")
    x, y = scene.x.numpy(), scene.y.numpy()
    np.savez("data.npz", x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)
    return tmp_path


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def written(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


COMMON = ("--data", "npz:data.npz", "--box", "0", "1", "--n", "12", "--quick", "--quiet")


@pytest.mark.slow
def test_a_users_model_is_evaluated_and_audited(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ("evaluate", "disguised_models:small", "--weights", "honest.safetensors", "--baseline", "baseline.pt")
    assert status(*model, "--threat", "inf:0.1,2:0.5", "--strict", *COMMON) == 0
    said = capsys.readouterr().err
    assert "Robust accuracy under all of them at once" in said
    assert "This is an upper bound. A quick look" in said
    assert re.search(r"Between .* % \(proved\) and .* % \(attacked\) of 12 samples withstand every change", said)
    record = EvaluationRecord.load("evaluation/evaluation.json")
    assert record.samples == 12
    assert record.baseline is not None
    assert not Path("evaluation/evaluation.state").exists()
    assert status("audit", "evaluation", "--trust") == 0
    assert "The record stands." in capsys.readouterr().err
    assert status("audit", "evaluation", "--trust", "--weights", "baseline.pt") == 3
    assert status("audit", "evaluation") == 2
    assert "If you know it, give --trust." in capsys.readouterr().err
    assert status(*model, "--threat", "inf:0.1", *COMMON) == 2
    assert "evaluation/evaluation.json exists. Choose another folder, or give --force" in capsys.readouterr().err
    assert status(*model, "--threat", "inf:0.1", *COMMON, "--force") == 0


@pytest.mark.slow
def test_strict_turns_a_failed_check_into_status_three(folder: Path) -> None:
    arguments = ("evaluate", "disguised_models:cut", "--weights", "honest.safetensors", *COMMON)
    assert status(*arguments) == 0
    assert status(*arguments, "--strict", "--force") == 3


@pytest.mark.slow
def test_one_output_and_features_of_their_own_go_through_every_command(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = np.array([1.0, 100.0, 10.0])
    x = (np.random.default_rng(0).random((12, 3)) * scale).astype(np.float32)
    slope = np.array([1.0, -0.01, 0.1])
    y = ((x - scale / 2) @ slope > 0).astype(int)
    np.savez("table.npz", x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)
    np.savez("features.npz", eps=scale * np.array([0.2, 0.1, 0.0]), low=0 * scale, high=scale)
    bias = torch.tensor([-float(slope @ scale) / 2])
    save_file({"weight": torch.tensor(slope[None]).float(), "bias": bias}, "single.safetensors")
    model = ("evaluate", "disguised_models:single", "--weights", "single.safetensors", "--data", "npz:table.npz",
             "--n", "12", "--quick", "--quiet")  # fmt: skip
    assert status(*model, "--features", "features.npz", "--out", "first") == 0
    first = EvaluationRecord.load("first/evaluation.json")
    room = np.minimum(x[:, :2], scale[:2] - x[:, :2])  # to the nearer wall: less than the way the attack may take
    gap = np.abs((x - scale / 2) @ slope)
    surely = np.minimum(room, scale[:2] * [0.2, 0.1]) @ np.abs(slope[:2]) > gap * 1.001
    never = scale[:2] * [0.2, 0.1] @ np.abs(slope[:2]) < gap * 0.999
    broken = np.array([by is not None for by in first.threats[0].broken_by])
    assert (first.clean, str(first.threats[0].threat)) == (1.0, "inf:1")
    assert broken[surely].all()
    assert not broken[never].any()
    assert 0 < broken.mean() < 1
    assert status("audit", "first", "--trust") == 0
    assert status(*model, "--features", "features.npz", "--threat", "inf:1,2:1", "--against", "first") == 0
    assert "Difference to disguised_models:single with single.safetensors, robust at inf:1: +0.0" in (
        capsys.readouterr().err
    )
    gaps = EvaluationRecord.load("evaluation/evaluation.json").differences
    assert [gap.quantity for gap in gaps] == ["clean", "inf:1"]


@pytest.fixture
def run(folder: Path) -> Path:
    """A finished run on the user's data."""
    options = ("--data", "npz:data.npz", "--box", "0", "1", "--rule", "plain", "--model", "mlp", "--epochs", "1")
    assert status("train", *options, "--no-baseline", "--quiet", "--out", "run") == 0
    return folder / "run"


def test_a_run_is_audited_with_the_weights_that_are_given(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("evaluate", "run", "--n", "12", "--quick", "--quiet") == 0
    assert status("audit", "run") == 0
    assert status("audit", "run", "--weights", "nothing.safetensors") == 2
    assert "no weights at nothing.safetensors" in capsys.readouterr().err
    weights = load_file(run / "model.safetensors")
    save_file({name: -tensor for name, tensor in weights.items()}, "other.safetensors")
    assert status("audit", "run", "--weights", "other.safetensors") == 3


def test_a_run_has_its_own_model_and_data(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = written(run)
    options = ("--weights", "honest.safetensors", "--data", "npz:data.npz", "--box", "0", "1")
    for command, needless in (
        ("evaluate", "--weights, --baseline, --data, --box"),
        ("explain", "--weights, --data, --box"),
    ):
        baseline = ("--baseline", "baseline.pt") if command == "evaluate" else ()
        assert status(command, "run", *options, *baseline) == 2
        assert f"The run run has its own model and data. Leave out {needless}." in capsys.readouterr().err
    assert written(run) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate", "nowhere"), "neither a run folder"),
        (("evaluate", "disguised_models:small"), "needs data"),
        (("evaluate", "disguised_models:small", "--threat", "inf-8", *COMMON), "Write NORM:EPS"),
        (("evaluate", "disguised_models:small", "--threat", "inf:8/255x", *COMMON), "not a number or a fraction"),
        (("evaluate", "disguised_models:none", *COMMON), "Cannot import"),
        (("evaluate", "disguised_models:small", "--weights", "data.npz", *COMMON), "data.npz"),
        (("evaluate", "disguised_models:small", *COMMON, "--out", "data.npz"), "--out data.npz is a file."),
        (("evaluate", "disguised_models:small", *COMMON, "--thorough"), "quick or thorough, not both"),
        (("evaluate", "disguised_models:small", *COMMON, "--features", "data.npz"), "eps, low and high"),
        (("evaluate", "disguised_models:small", *COMMON, "--against", "none.json"), "no record at none.json"),
        (("evaluate", "disguised_models:small", *COMMON, "--batch-size", "0"), "Invalid value for '--batch-size'"),
        (("evaluate", "disguised_models:small", *COMMON, "--n", "-1"), "Invalid value for '--n'"),
        (("evaluate", "disguised_models:small", *COMMON, "--robustbench", "there"), "--robustbench there is a folder."),
        (("evaluate", "disguised_models:small", *COMMON, "--out", "data.npz/a"), "nothing can be added to"),
        (("evaluate", "disguised_models:small", *COMMON, "--against", "there"), "no record at there/evaluation.json"),
        (("explain", "disguised_models:small", "--data", "npz:data.npz", "--out", "data.npz"), "Name a folder."),
        (("transfer", "a", "b", "--out", "data.npz"), "--out data.npz is a file. Name a folder."),
        (("geometry", "--out", "data.npz"), "--out data.npz is a file. Name a folder."),
        (("compare", "--rules", "plain", "--out", "data.npz"), "--out data.npz is a file. Name a folder."),
        (("audit", "nothing.json"), "no record"),
    ],
)
def test_bad_input_is_one_sentence_and_status_two(
    arguments: tuple[str, ...], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there").mkdir()
    before = written(folder)
    assert status(*arguments) == 2
    assert written(folder) == before
    said = capsys.readouterr().err.strip()
    assert words in said
    assert said.startswith("holomorph:")
    assert "Traceback" not in said


def test_a_quick_evaluation_is_not_exported_to_the_leaderboard(folder: Path) -> None:
    arguments = ("evaluate", "disguised_models:small", "--weights", "honest.safetensors", *COMMON)
    assert status(*arguments, "--robustbench", "board.json") == 2
    assert not Path("board.json").exists()
    assert json.loads(Path("evaluation/evaluation.json").read_text())["kind"] == "evaluation", (
        "what was found is not lost"
    )
