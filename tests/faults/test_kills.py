"""Whatever prefix of our own writes a kill leaves: ``resume`` ends with the numbers of a run that was never stopped.

Each is killed at every few changes that it makes to the disk, in this process, and started again twice: with
``resume``, and on a copy of what was left with ``force``.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import holomorph as hm
from dying import Disk, KilledError
from holomorph.data import Splits

THREAT = hm.ThreatModel("inf", 0.05)
Job = Callable[..., Any]


def samples(n: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(n, 2, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > x[:, 1]).long()


def train(out: Path, **flags: bool) -> Any:
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    record = hm.fit(model, samples(), hm.Plain(), epochs=2, batch_size=12, out=out, **flags)
    return [epoch.loss for epoch in record.history], model.weight.tolist()


def compare(out: Path, **flags: bool) -> Any:
    x, y = samples(24)
    data = Splits("points", x, y, x[:6], y[:6], x[:6], y[:6], (0.0, 1.0), 2)
    record = hm.compare(
        data, ["plain"], THREAT, budget="1epochs", seeds=1, model="mlp", batch_size=12, out=out, **flags
    )
    return [run.right for rule in record.rules for run in rule.runs]


def evaluate(out: Path, **flags: bool) -> Any:
    record = hm.evaluate(fixed(), *samples(), threat=THREAT, quick=True, checks=False, batch_size=12, out=out, **flags)
    return [attack.accuracy for attack in record.attacks], record.threats[0].smallest


def explain(out: Path, **flags: bool) -> Any:
    record = hm.explain(fixed(), *samples(), threat=THREAT, only=["margins", "energies"], out=out, **flags)
    return record.clean, record.margins.found, record.margins.first_order, record.energies


def fixed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))


def resumes(job: Job, folder: Path, *, stride: int = 1) -> int:
    """Kill the job at every change, or at every few, and compare what comes of the rest; return how often."""
    disk, whole = Disk(), job(folder / "whole")
    with disk.watched():
        job(folder / "counted")
    kills = range(0, disk.changes, stride)
    for last in kills:
        out, copy = folder / f"killed-{last}", folder / f"copy-{last}"
        with disk.watched(last), pytest.raises(KilledError):
            job(out)
        if out.exists():
            shutil.copytree(out, copy)
        assert job(out, resume=True) == whole, f"killed at change {last}, resumed"
        assert not [path.name for path in out.rglob("*.part")], f"killed at change {last}: unfinished files stay"
        if last % 3 == 0:
            assert job(copy, force=True) == whole, f"killed at change {last}, replaced"
    return len(kills)


@pytest.mark.slow
@pytest.mark.parametrize(("job", "stride"), [(train, 4), (compare, 4), (evaluate, 10), (explain, 4)])
def test_it_goes_on_after_a_kill_anywhere(job: Job, stride: int, tmp_path: Path) -> None:
    assert resumes(job, tmp_path, stride=stride) > 2
