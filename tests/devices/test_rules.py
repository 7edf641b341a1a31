"""Every rule on a pretend accelerator: it computes there, and no step waits or copies."""

import pytest
import torch

from holomorph.rules import RULES
from holomorph.threats import ThreatModel
from pretend_device import PretendDevice
from rule_cases import THREATS, batch, make, network

NAMES = sorted(RULES)


@pytest.mark.slow
@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_step_neither_waits_nor_copies(pretend: PretendDevice, name: str, threat: ThreatModel) -> None:
    rule = make(name, threat)
    model, (x, y) = pretend.put(network()), pretend.put(batch())
    step = torch.optim.SGD(model.parameters(), 0.01)
    for progress in (0.1, 0.11, 0.12, 1.0, 1.0):
        rule.progress = progress
        pretend.reset()
        loss = rule(model, x, y)
        loss.backward()
        step.step()
        step.zero_grad()
        if progress in (0.12, 1.0):
            assert not pretend.waits, pretend.waits
            assert not pretend.copies, pretend.copies
    assert loss.device == pretend.device
    assert bool(loss.isfinite())


@pytest.mark.parametrize("name", NAMES)
def test_no_rule_needs_double_precision(single: PretendDevice, name: str) -> None:
    model, (x, y) = network().float(), batch()
    model, x, y = single.put(model), single.put(x.float()), single.put(y)
    loss = make(name, THREATS[0])(model, x, y)
    loss.backward()
    assert loss.dtype == x.dtype


def test_the_same_seed_draws_the_same_numbers_on_the_device(pretend: PretendDevice) -> None:
    found = []
    for _ in range(2):
        model, (x, y) = pretend.put(network()), pretend.put(batch())
        pretend.manual_seed_all(0)
        found.append(float(make("finite", THREATS[0], seed=3)(model, x, y).detach()))
    assert found[0] == found[1]
