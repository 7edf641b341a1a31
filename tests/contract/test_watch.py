"""Every batch is looked at: on the CPU at once, on an accelerator one step later and without a wait."""

import copy
import pickle

import pytest
import torch
from torch import nn

from holomorph.contract.watch import Watch
from holomorph.errors import DataError
from pretend_device import PretendDevice

X, Y, BOX = torch.rand(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]), (0.0, 1.0)


class Constant(nn.Module):
    """Three logits that need no arithmetic between devices."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :3]


def test_on_the_cpu_the_verdict_is_read_at_once() -> None:
    watch, model = Watch(), Constant()
    guest, x, y = watch.look(model, X, Y.to(torch.uint8), BOX)
    assert guest.highest == 2
    assert torch.equal(x, X)
    assert y.dtype == torch.long
    with pytest.raises(DataError, match="outside the box"):
        watch.look(model, 2 * X, Y, BOX)
    with pytest.raises(DataError, match="The labels run from -1 to 2"):
        watch.look(model, X, Y.where(Y > 0, -1), BOX)


def test_on_a_device_it_is_read_with_the_next_batch() -> None:
    with PretendDevice() as device:
        watch, model = Watch(), Constant()
        good, bad, labels = device.put(X), device.put(3 * X + 1), device.put(Y)
        guest, x, _ = watch.look(model, good, labels, BOX)  # the first of a model is waited for
        guest(x)
        device.reset()
        _, _, y = watch.look(model, good, device.put(Y + 5), BOX)
        assert device.waits.total() == 0
        assert int(y.max()) == 2  # held inside the classes: a label outside would end the process
        with pytest.raises(DataError, match=r"The labels run from 5 to 7; they must lie in 0\.\.2"):
            watch.look(model, bad, labels, BOX)
        watch.look(model, bad, labels, BOX)
        with pytest.raises(DataError, match="outside the box"):
            watch.settle()
        watch.settle()  # said once


def test_another_model_is_asked_anew() -> None:
    with PretendDevice() as device:
        watch = Watch()
        guest, x, _ = watch.look(Constant(), device.put(X), device.put(Y), BOX)
        guest(x)
        with pytest.raises(DataError, match="outside the box"):
            watch.look(Constant(), device.put(X - 5), device.put(Y), BOX)


def test_copies_have_seen_nothing() -> None:
    watch = Watch()
    watch.look(Constant(), X, Y, BOX)
    for other in (copy.deepcopy(watch), pickle.loads(pickle.dumps(watch))):
        other.settle()
        assert other.look(Constant(), X, Y, BOX)[0].highest == 2
