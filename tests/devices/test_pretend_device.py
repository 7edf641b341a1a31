"""The pretend device itself: it refuses what CUDA refuses, counts, and computes what the CPU computes."""

import pytest
import torch
from torch import nn

from pretend_device import PretendDevice


def test_operands_on_two_devices_are_refused(pretend: PretendDevice) -> None:
    here, there = pretend.put(torch.ones(2)), torch.ones(2)
    with pytest.raises(RuntimeError, match="at least two devices"):
        _ = here + there
    with pytest.raises(RuntimeError, match="at least two devices"):
        there[here > 0]
    assert float((here + torch.tensor(1.0)).sum()) == 4  # a scalar of the host may join


def test_generators_of_another_device_are_refused(pretend: PretendDevice) -> None:
    with pytest.raises(RuntimeError, match="Expected a 'lazy' device type for generator"):
        torch.empty(2, device=pretend.device).exponential_(generator=torch.Generator())
    own = torch.Generator(pretend.device).manual_seed(0)
    again = torch.Generator(pretend.device).manual_seed(0)
    first, second = (torch.rand(2, generator=g, device=pretend.device) for g in (own, again))
    assert torch.equal(first.cpu(), second.cpu())


def test_what_waits_is_counted_where_it_was_asked_for(pretend: PretendDevice) -> None:
    x = pretend.put(torch.arange(4.0))
    pretend.reset()
    asking = [lambda: float(x.sum()), lambda: bool(x.isfinite().all()), lambda: x[x > 1], x.nonzero, x.cpu, x.tolist]
    for ask in asking:
        before = pretend.waits.total()
        ask()
        assert pretend.waits.total() >= before + 1
    assert all("test_pretend_device.py" in place for place in pretend.waits)


def test_copies_are_counted_unless_the_memory_is_pinned(pretend: PretendDevice) -> None:
    x = torch.ones(3)
    x.pin_memory().to(pretend.device, non_blocking=True)
    assert pretend.copies.total() == 0
    x.to(pretend.device)
    torch.tensor([1.0, 2.0], device=pretend.device)
    assert pretend.copies.total() == 2


def test_a_device_without_double_precision_refuses_it(single: PretendDevice) -> None:
    with pytest.raises(TypeError, match="no double precision"):
        torch.ones(2, dtype=torch.float64, device=single.device)


def test_numbers_do_not_leave_by_numpy(pretend: PretendDevice) -> None:
    with pytest.raises(TypeError, match="can't convert"):
        pretend.put(torch.ones(2)).numpy()


def test_dropout_draws_from_the_device_and_training_computes_what_the_cpu_computes(pretend: PretendDevice) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)), torch.rand(6, 4)
    twin = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    twin.load_state_dict(model.state_dict())
    pretend.put(twin)
    for one, data in ((model, x), (twin, pretend.put(x))):
        step = torch.optim.Adam(one.parameters(), 0.1)
        for _ in range(3):
            step.zero_grad()
            one(data).square().mean().backward()
            step.step()
    for mine, theirs in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs.cpu())
    state = torch.get_rng_state()
    nn.functional.dropout(pretend.put(torch.ones(100)))
    assert torch.equal(state, torch.get_rng_state())
