"""Every file that we wrote, damaged in a dozen ways: what reads it names it in one sentence, or does without it."""

import itertools
import json
import os
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch

from holomorph.cli import BAD_INPUT, exit_status

pytestmark = pytest.mark.slow

X = torch.rand(24, 2, generator=torch.Generator().manual_seed(3))
Y = (X[:, 0] > X[:, 1]).long()


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _holds(text: bytes):
    return lambda path: path.write_bytes(text)


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _without_a_key(path: Path) -> None:
    content = json.loads(path.read_text())
    if isinstance(content, dict):
        content.pop(next(iter(content)))
    path.write_text(json.dumps(content))


def _of_other_types(path: Path) -> None:
    content = json.loads(path.read_text())
    if isinstance(content, dict):
        content = {key: [value] for key, value in content.items()}
    path.write_text(json.dumps(content))


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


#: For any file.
DAMAGE = {
    "emptied": _emptied,
    "cut": _cut,
    "other bytes": _holds(b"\xff\xfe\x00\x80" * 9),
    "a byte flipped": _flipped,
    "a folder": _a_folder,
    "a pipe": _a_pipe,
    "a device": _a_device,
    "a link to itself": _a_link_to_itself,
}

#: For JSON.
DAMAGED_JSON = DAMAGE | {
    "null": _holds(b"null"),
    "a list": _holds(b"[]"),
    "a number": _holds(b"1e999"),
    "nan": _holds(b'{"kind": NaN}'),
    "an empty object": _holds(b"{}"),
    "nested": _holds(b'{"kind":' * 100_000),
    "a key gone": _without_a_key,
    "other types": _of_other_types,
}

OF_DATA = ("--data", "npz:d.npz", "--box", "0", "1", "--model", "mlp", "--threat", "inf:0.05", "--quiet")
FEW = ("--n", "24", "--quiet")
TRAIN = ("train", *OF_DATA, "--rule", "plain", "--epochs", "2", "--no-baseline", "--out", "run")
COMPARE = ("compare", *OF_DATA, "--rules", "plain", "--budget", "1epochs", "--seeds", "1", "--out", "table")
EXPLAIN = ("explain", "run", "--only", "energies", *FEW)
EVALUATE = ("evaluate", "run", "--quick", *FEW)
CERTIFY = ("certify", "run", "--steps", "1", *FEW)
ANEW = (*CERTIFY, "--force")
REPORT, AUDIT = ("report", "run"), ("audit", "run/evaluation.json")
CHECK = ("check", "run", "--min-robust", "0", "--allow-quick")
AGAIN, TABLE, EXPORT = (*TRAIN, "--resume"), (*COMPARE, "--resume"), ("export", "run", "--to", "safetensors")

#: The files of a run and of a comparison, and the commands that read each.
READ_BY = {
    "run/config.json": (REPORT, EXPORT, AGAIN),
    "run/train.json": (REPORT, AGAIN),
    "run/evaluation.json": (REPORT, CHECK, AUDIT, (*EVALUATE, "--resume")),
    "run/evaluation.npz": (REPORT, AUDIT),
    "run/diagnostics.json": (REPORT,),
    "run/explanation.json": (REPORT, (*EXPLAIN, "--resume")),
    "run/certificate.json": (REPORT, CHECK, (*CERTIFY, "--resume")),
    "run/model.safetensors": (EXPORT, ANEW, AGAIN),
    "run/logs/metrics.csv": (REPORT, AGAIN),
    "run/checkpoints/settings.json": (AGAIN,),
    "run/checkpoints/epoch-0002.json": (AGAIN,),
    "run/checkpoints/epoch-0002.safetensors": (AGAIN,),
    "table/comparison.json": (("report", "table"), TABLE),
    "table/plain/training.json": (TABLE,),
    "table/plain/epochs.txt": (TABLE,),
    "table/plain/seed-0/train.json": (TABLE,),
    "table/plain/seed-0/run-val.json": (TABLE,),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run, its records and a comparison lie."""
    folder = tmp_path_factory.mktemp("written")
    with chdir(folder):
        arrays = {f"x_{part}": X.numpy() for part in ("train", "val", "test")}
        np.savez("d.npz", **arrays, **{f"y_{part}": Y.numpy() for part in ("train", "val", "test")})
        for command in (TRAIN, EVALUATE, COMPARE, EXPLAIN, CERTIFY):
            assert exit_status(list(command)) == 0, command
    return folder


@pytest.mark.parametrize("name", READ_BY)
def test_a_damaged_file_is_named_in_one_sentence_or_not_needed(
    name: str, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = itertools.cycle(READ_BY[name])
    for kind, damage in (DAMAGED_JSON if name.endswith(".json") else DAMAGE).items():
        command = next(turns)
        folder = tmp_path / kind
        shutil.copytree(written, folder)
        damage(folder / name)
        capsys.readouterr()
        with chdir(folder):
            status = exit_status(list(command))
        said = capsys.readouterr().err
        assert status in (0, BAD_INPUT), (kind, command, said)
        sentences = [line for line in said.splitlines() if line.startswith("holomorph:") and "warning" not in line]
        if status == BAD_INPUT:
            assert len(sentences) == 1, (kind, command, said)
            assert Path(name).name in said or "The run in run was started with" in said, (kind, command, said)
