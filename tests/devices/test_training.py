"""``fit`` on a pretend accelerator: what waits belongs to an epoch or to a log, not to a step."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from holomorph.rules import RULES, parse
from holomorph.training.fit import fit
from pretend_device import PretendDevice, pretend_fabric
from two_processes import Stream


def network() -> nn.Module:
    """A small network with masks and statistics."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(0.2), nn.Linear(8, 2))


def task(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples of two classes."""
    x = torch.rand(samples, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > x[:, 1]).long()


OFTEN = ["finite", "pgd", "plain", "plain on a stream", "free(repeats=2)"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*OFTEN, *(pytest.param(name, marks=pytest.mark.campaign) for name in sorted({*RULES} - {*OFTEN, "free"}))]
)
def test_a_step_neither_waits_nor_copies(pretend: PretendDevice, name: str) -> None:
    counts = []
    for batches in (3, 3, 9):  # the first run of a process also copies what is kept from then on
        pretend.reset()
        data, streams = task(16 * batches), name.endswith("stream")
        settings = {"epochs": 2, "batch_size": 16, "steps_per_epoch": batches if streams else None}
        given = DataLoader(Stream(*data), 16) if streams else data
        fit(network(), given, parse(name.removesuffix(" on a stream"), "inf:0.1"), fabric=pretend_fabric(), **settings)
        counts.append((pretend.waits.total(), pretend.copies.total()))
    (waits, copies), (longer_waits, longer_copies) = counts[1:]
    assert waits == longer_waits
    assert abs(longer_copies - copies) < 12  # the longer run has 12 steps more


def test_a_run_with_everything_is_taken_up_again_on_the_device(pretend: PretendDevice, tmp_path: Path) -> None:
    data, rule = task(64), "finite + 0.1*gradalign"
    settings = {"batch_size": 16, "ema": 0.9, "clip": 1.0, "weight_decay": 0.01, "validation": task(16), "guard": False}
    whole = fit(network(), data, parse(rule, "inf:0.1"), epochs=2, fabric=pretend_fabric(), **settings)
    rounds = {"out": tmp_path / "run", "fabric": pretend_fabric(), "checkpoint_steps": 3}
    again = fit(network(), data, parse(rule, "inf:0.1"), epochs=2, **settings, **rounds)
    assert [e.loss for e in again.history] == [e.loss for e in whole.history]
    (tmp_path / "run/checkpoints/epoch-0002.json").unlink()
    resumed = fit(network(), data, parse(rule, "inf:0.1"), epochs=2, resume=True, **settings, **rounds)
    assert [e.loss for e in resumed.history] == [e.loss for e in whole.history]
    assert resumed.device == str(pretend.device)
