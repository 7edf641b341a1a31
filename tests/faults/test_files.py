"""Nothing of the user's is deleted, overwritten, followed through a link or run unasked."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file
from torch import nn

import holomorph as hm
from holomorph._utils.io import write_atomically
from holomorph.cli import BAD_INPUT, INTERRUPTED, exit_status
from holomorph.cli.faults import catch_signals, reader_has_gone
from holomorph.errors import ConfigError, StorageError
from holomorph.training.folder import nothing_left_of_a_refusal, own_files
from holomorph.training.loop import Loop

X = torch.rand(24, 2, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > X[:, 1]).long()
THREAT = hm.ThreatModel("inf", 0.05)


def fit(out: Path, **flags: bool) -> None:
    hm.fit(nn.Linear(2, 2), (X, Y), hm.Plain(), epochs=1, batch_size=12, out=out, **flags)


def evaluate(out: Path, **flags: bool) -> None:
    hm.evaluate(nn.Linear(2, 2), X[:4], Y[:4], threat=THREAT, quick=True, checks=False, out=out, **flags)


def explain(out: Path, **flags: bool) -> None:
    hm.explain(nn.Linear(2, 2), X, Y, threat=THREAT, only=["energies"], out=out, **flags)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with years of work."""
    folder = tmp_path / "mine"
    for name in ("epoch-0001.json", "evaluation.json", "thesis.tex", "batch.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("years of work")
    return folder


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["checkpoints", "model.safetensors"])
def test_force_follows_no_link_inside_a_run(mine: Path, tmp_path: Path, name: str) -> None:
    before = content(mine)
    fit(tmp_path / "run")
    found = tmp_path / "run" / name
    for path in sorted(found.rglob("*")) if found.is_dir() else [found]:
        path.unlink()
    if found.is_dir():
        found.rmdir()
    found.symlink_to(mine if name == "checkpoints" else mine / "thesis.tex")
    with pytest.raises(ConfigError, match="is a link, or lies beyond one, and is left alone"):
        fit(tmp_path / "run", force=True)
    assert content(mine) == before


def test_force_follows_no_link_to_a_run(tmp_path: Path) -> None:
    fit(tmp_path / "run")
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"is a link\. What it points to is left alone"):
        fit(tmp_path / "link", force=True)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before


@pytest.mark.parametrize("flags", [{}, {"force": True}, {"resume": True}])
@pytest.mark.parametrize("measure", [fit, evaluate, explain])
@pytest.mark.parametrize("name", ["evaluation.json", "evaluation.state/a", "explanation.parts/a", "config.json"])
def test_what_we_did_not_write_is_left_alone(
    tmp_path: Path, measure: object, name: str, flags: dict[str, bool]
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("years of work")
    with suppress(ConfigError):  # some names are in nobody's way
        measure(tmp_path, **flags)  # type: ignore[operator]
    assert (tmp_path / name).read_text() == "years of work"


@pytest.mark.parametrize("measure", [fit, evaluate, explain])
def test_without_force_or_resume_nothing_that_exists_is_replaced(tmp_path: Path, measure: object) -> None:
    measure(tmp_path / "out")  # type: ignore[operator]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    with pytest.raises(ConfigError, match=r"exists\. Choose another"):
        measure(tmp_path / "out")  # type: ignore[operator]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_a_file_takes_the_place_of_plain_files_only(tmp_path: Path, mine: Path) -> None:
    (tmp_path / "link").symlink_to(mine / "thesis.tex")
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("link", "is a link"), ("pipe", "is no plain file"), ("mine", "is a folder")):
        with pytest.raises(ConfigError, match=words):
            write_atomically(tmp_path / name, b"new")
    with pytest.raises(ConfigError, match="is no plain file"):
        write_atomically("/dev/null", b"new")
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_the_umask_is_respected(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert write_atomically(tmp_path / "a", b"").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_a_page_of_the_users_is_no_report(tmp_path: Path) -> None:
    fit(tmp_path / "run")
    (tmp_path / "run" / "report.html").write_text("<p>mine</p>")
    assert exit_status(["report", str(tmp_path / "run")]) == BAD_INPUT
    assert (tmp_path / "run" / "report.html").read_text() == "<p>mine</p>"
    (tmp_path / "run" / "report.html").unlink()
    assert [exit_status(["report", str(tmp_path / "run")]) for _ in range(2)] == [0, 0], "ours is written anew"


@pytest.mark.parametrize(("measure", "kind"), [(fit, "run"), (evaluate, "evaluation"), (explain, "explanation")])
def test_two_do_not_write_into_one_folder(tmp_path: Path, measure: object, kind: str) -> None:
    tmp_path.joinpath("out").mkdir()
    with FileLock(tmp_path / "out" / f".{kind}.lock"), pytest.raises(ConfigError, match="Another process is writing"):
        measure(tmp_path / "out")  # type: ignore[operator]
    measure(tmp_path / "out")  # type: ignore[operator]


def test_a_refused_run_leaves_nothing_that_stands_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        hm.fit(nn.Linear(2, 2), (X, Y), hm.Plain(), epochs=0, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    fit(tmp_path / "run")


EVIL = "from torch import nn\nfrom pathlib import Path\nPath('ran').touch()\ndef make():\n    return nn.Linear(2, 2)\n"


def test_a_runs_code_is_not_imported_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("evil_model.py").write_text(EVIL)
    arrays = {f"x_{part}": X.numpy() for part in ("train", "val", "test")}
    np.savez("d.npz", **arrays, **{f"y_{part}": Y.numpy() for part in ("train", "val", "test")})
    options = ["--data", "npz:d.npz", "--box", "0", "1", "--epochs", "1", "--rule", "plain", "--no-baseline", "--quiet"]
    assert exit_status(["train", *options, "--model", "mlp", "--out", "run"]) == 0
    config = Path("run/config.json")
    config.write_text(config.read_text().replace('"mlp"', '"evil_model:make"'))
    save_file({"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}, "run/model.safetensors")
    for command in ("evaluate", "explain", "certify"):
        assert exit_status([command, "run", "--n", "12", "--quiet"]) == BAD_INPUT
        assert "If you know it, give --model evil_model:make, or --trust" in capsys.readouterr().err
    assert exit_status(["transfer", "run", "run"]) == BAD_INPUT
    assert not Path("ran").exists()
    assert exit_status(["certify", "run", "--n", "2", "--steps", "1", "--trust", "--quiet"]) == 0
    assert Path("ran").exists()


def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(tmp_path / "run")
    before = sorted(p.name for p in tmp_path.rglob("*"))
    monkeypatch.setattr("os.replace", _full)
    with pytest.raises(StorageError, match="No space left on device"):
        fit(tmp_path / "run", resume=True)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    fit(tmp_path / "run", resume=True)


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_request_to_end_is_answered_as_ctrl_c_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before = {known: signal.getsignal(known) for known in (signal.SIGTERM, signal.SIGHUP)}
    catch_signals()
    epoch = Loop.run_epoch

    def asked_to_end(self: Loop, *arguments: Any) -> object:
        os.kill(os.getpid(), getattr(signal, name))
        return epoch(self, *arguments)

    monkeypatch.setattr(Loop, "run_epoch", asked_to_end)
    try:
        assert exit_status(["train", "--epochs", "1", "--quiet", "--out", str(tmp_path / "run")]) == INTERRUPTED
    finally:
        for known, handler in before.items():
            signal.signal(known, handler)
    assert "the same command with --resume goes on from there." in capsys.readouterr().err


CODE = {
    "raises": ("def make():\n    raise ValueError('no')\n", "it raised ValueError: no. Mend the factory."),
    "ends": ("import sys\ndef make():\n    sys.exit(0)\n", "it raised SystemExit: 0. Mend the factory."),
    "syntax": ("def make(:\n", "Cannot import 'syntax_model:make': SyntaxError"),
    "nothing": ("def make():\n    pass\n", "returned NoneType, not a torch.nn.Module"),
    "other": ("def make(weights=None, progress=True):\n    assert progress is True\n    return 3\n", "returned int"),
    "asks": ("def make(depth):\n    pass\n", "missing 1 required positional argument: 'depth'"),
    "imports": ("import sys\nsys.exit(0)\n", "Cannot import 'imports_model:make': SystemExit: 0"),
}


@pytest.mark.parametrize("kind", CODE)
def test_a_users_code_is_the_users_to_mend(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    source, words = CODE[kind]
    Path(f"{kind}_model.py").write_text(source)
    assert exit_status(["train", "--model", f"{kind}_model:make", "--quiet", "--out", "run"]) == BAD_INPUT
    said = capsys.readouterr().err
    assert words in " ".join(said.split())
    assert "mistake of ours" not in said
    assert not Path("run").exists()


def test_a_training_that_failed_at_once_stands_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    source = (
        "from torch import nn\nclass Broken(nn.Linear):\n    def __init__(self):\n        super().__init__(64, 10)\n"
    )
    Path("broken_model.py").write_text(source + "    def forward(self, x):\n        raise ValueError('broken')\n")
    command = ["train", "--epochs", "1", "--quiet", "--rule", "plain", "--no-baseline", "--out", "run"]
    assert exit_status([*command, "--model", "broken_model:Broken"]) == BAD_INPUT
    assert "broken" in capsys.readouterr().err
    assert exit_status([*command, "--model", "mlp"]) == 0


def test_without_a_command_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status([]) == 0
    assert "Usage" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("shell", "status"), [("| true; exit ${PIPESTATUS[0]}", INTERRUPTED), ("2>&- >&-", 0)])
def test_a_reader_that_has_gone_is_no_fault(shell: str, status: int) -> None:
    command = f"{sys.executable} -m holomorph evaluate --help {shell}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "mistake of ours" not in done.stderr


def test_a_lost_worker_is_not_taken_for_a_reader_that_has_gone() -> None:
    sending, receiving = multiprocessing.Pipe()
    receiving.close()
    with pytest.raises(BrokenPipeError) as lost:
        sending.send(1)
    assert not reader_has_gone(lost.value)


def test_a_refused_run_takes_back_what_it_wrote_and_nothing_that_lay_there(tmp_path: Path) -> None:
    old, new = tmp_path / "evaluation.json", tmp_path / "config.json"
    old.write_text("{}")
    with suppress(ConfigError), nothing_left_of_a_refusal(tmp_path):
        new.write_text("{}")
        raise ConfigError("refused")
    assert old.is_file()
    assert not new.exists()


def test_force_takes_every_finished_part_with_the_lock_that_says_whose_it_is(tmp_path: Path) -> None:
    for name in ("evaluation", "explanation", "certificate"):
        parts = tmp_path / ("evaluation.state" if name == "evaluation" else f"{name}.parts")
        parts.mkdir()
        (parts / "00ee9cfc6d64.npz").touch()
        (tmp_path / f".{name}.lock").touch()
    assert len(own_files(tmp_path)) == 6
