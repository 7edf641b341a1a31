"""Checkpoints within an epoch, every few minutes and at SIGTERM: a run goes on from them to the same numbers."""

import math
import os
import signal

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from holomorph.errors import StoppedError
from holomorph.rules import Plain
from holomorph.training import checkpoint
from holomorph.training.fit import fit


def warm_up(optimizer, total):
    """Five steps up, then half a cosine down to 0."""
    down = CosineAnnealingLR(optimizer, total - 5)
    return SequentialLR(optimizer, [LinearLR(optimizer, 0.1, total_iters=5), down], milestones=[5])


class Noisy(Plain):
    """Draws from the rule's own generator at every call."""

    def loss(self, model, x, y):
        return super().loss(model, x + 0.1 * torch.randn(x.shape, generator=self.generator), y)


class Told(Noisy):
    """In its 14th call the process is told to end, as by a cluster or by Ctrl-C."""

    calls, number = 0, signal.SIGTERM

    def loss(self, model, x, y):
        self.calls += 1
        if self.calls == 14:
            os.kill(os.getpid(), self.number)
        return super().loss(model, x, y)


class Interrupted(Told):
    number = signal.SIGINT


@pytest.mark.parametrize(
    ("rule", "minutes", "error", "newest"),
    [
        (Told, None, StoppedError, "epoch-0001-batch-00000004"),
        (Interrupted, 1e-9, KeyboardInterrupt, "epoch-0001-batch-00000003"),
        (Interrupted, 60.0, KeyboardInterrupt, "epoch-0001"),
    ],
)
def test_a_run_goes_on_from_the_middle_of_an_epoch(task, make_model, tmp_path, rule, minutes, error, newest):
    settings = {"epochs": 3, "batch_size": 20, "lr": 0.01, "schedule": warm_up, "checkpoint_minutes": minutes}
    settings["ema"] = 0.9 if minutes is None else None
    whole, resumed, before = make_model(dropout=0.3), make_model(5, dropout=0.3), signal.getsignal(signal.SIGTERM)
    expected = fit(whole, task, Noisy(), **settings)
    with pytest.raises(error, match=r"told to stop at step 14\. It goes on from there" if rule is Told else None):
        fit(make_model(dropout=0.3), task, rule(), out=tmp_path / "run", **settings)
    assert signal.getsignal(signal.SIGTERM) == before
    assert checkpoint.latest(tmp_path / "run/checkpoints").stem == newest
    found = fit(resumed, task, Noisy(), out=tmp_path / "run", resume=True, **settings)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert [e.loss for e in found.history] == [e.loss for e in expected.history]
    rates = [0.005 * (1 + math.cos(math.pi * steps / 25)) for steps in (5, 15, 25)]
    assert [e.lr for e in found.history] == [e.lr for e in expected.history] == pytest.approx(rates)
