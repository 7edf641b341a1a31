"""Two processes (gloo) exchange gradients: the result is that of one process on the joined batch."""

import os
import socket

import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from holomorph.rules import RULES
from rule_cases import STILL, THREATS, batch, make, network

#: The residual of weakly_harmonic is a mean over each process's own batch, which docs/rules.md states.
NAMES = sorted(set(RULES) - {"weakly-harmonic"})

#: Rules whose draws no setting switches off: one process on a half batch draws what each of the two draws.
DRAWING = {"trades", "gradalign", "jacobian", "harmonic", "fgsm-pgi"}


def gradients(name, model, x, y):
    model.zero_grad()
    make(name, THREATS[0], STILL, steps=2)(model, x, y).backward()
    return [p.grad.clone() for p in model.parameters()]


def work(rank, port, results):
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    found = share(slice(4 * rank, 4 * rank + 4))
    if rank == 0:
        torch.save(found, results)
    distributed.barrier()
    distributed.destroy_process_group()


def share(rows):
    """A function of its own: a network that outlives its process group can wait for it for ever."""
    x, y = batch(8)
    return {name: gradients(name, DistributedDataParallel(network(norm=False)), x[rows], y[rows]) for name in NAMES}


@pytest.mark.slow
def test_gradients_are_those_of_the_joined_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (port, tmp_path / "found.pt"), nprocs=2)
    found = torch.load(tmp_path / "found.pt")
    x, y = batch(8)
    assert found.keys() == set(NAMES)
    for name in NAMES:
        if name in DRAWING:
            halves = [gradients(name, network(norm=False), x[r], y[r]) for r in (slice(0, 4), slice(4, 8))]
            expected = [(a + b) / 2 for a, b in zip(*halves, strict=True)]
        else:
            expected = gradients(name, network(norm=False), x, y)
        for one, other in zip(found[name], expected, strict=True):
            assert torch.allclose(one, other, atol=1e-12), name
