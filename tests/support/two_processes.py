"""Trainings of one or two processes on gloo, run as a program: FOLDER TASK [slowly] [resume].

Each process leaves what it ended with in FOLDER/rankN.pt, and its number in FOLDER/rankN.pid.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import rule_cases
from holomorph import rules
from holomorph.errors import HolomorphError
from holomorph.nn.networks import HolomorphicMLP
from holomorph.rules import FreeAT, Plain
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from rule_cases import STILL, THREATS, make

NEAR, PLAIN = ThreatModel("inf", 0.02), ("plain", "sgd")
FORMS = ("tensors", "dataset", "loader", "stream")


class Stream(IterableDataset):
    """Samples one after another, of a number that is not told."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(zip(self.x, self.y, strict=True))


class Slowly(Plain):
    """Leaves time for a signal."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        time.sleep(0.2)
        return super().loss(model, x, y)


def data(form: str) -> Any:
    """The same samples in several forms."""
    draws = torch.Generator().manual_seed(0)
    x = torch.rand(96, 4, generator=draws, dtype=torch.float64)
    y = (x[:, 0] > x[:, 1]).long()
    if form == "dataset":
        return TensorDataset(x, y)
    if form == "loader":
        return DataLoader(TensorDataset(x, y), 16, shuffle=True, drop_last=True)
    return DataLoader(Stream(x, y), 16) if form == "stream" else (x, y)


def network(norm: nn.Module) -> nn.Sequential:
    """A small network in double precision."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), norm, nn.Tanh(), nn.Linear(8, 2)).double()


def train(fabric: Fabric, folder: Path, form: str, *, slowly: bool = False, resume: bool = False) -> dict[str, Any]:
    """Train eight epochs with most of what several processes must agree on."""
    model = network(nn.Identity())
    record = fit(
        model, data(form), Slowly() if slowly else Plain(), epochs=8, batch_size=16, weight_decay=0.01,
        accumulate=2, clip=1.0, steps_per_epoch=6 if form == "stream" else None, checkpoint_steps=1,
        out=folder / form, validation=DataLoader(TensorDataset(*data("tensors")), 16), resume=resume,
        optimizer="adamw", fabric=fabric,
    )  # fmt: skip
    losses = [epoch.loss for epoch in record.history]
    return {"weights": model.state_dict(), "losses": losses, "accuracy": record.history[-1].validation_accuracy}


def norms(fabric: Fabric, folder: Path) -> dict[str, Any]:
    """Train a network with BatchNorm by a rule that keeps a perturbation of each sample; and once more from halfway."""
    found: dict[str, Any] = {}
    for resume in (False, True):
        model, rule = network(nn.BatchNorm1d(8)).float(), FreeAT("inf:0.1", repeats=2)
        x, y = data("tensors")
        fit(model, (x.float(), y), rule, epochs=3, batch_size=16, out=folder / "norms", resume=resume, fabric=fabric)
        found[f"resumed {resume}"] = {"weights": model.state_dict(), "delta": rule.delta}
        fabric.barrier()
        if fabric.is_global_zero:
            (folder / "norms/checkpoints/epoch-0003.json").unlink()
        fabric.barrier()
    return found


def gradients(name: str, rows: slice, wrap: Callable[[nn.Module], nn.Module] = nn.Sequential) -> list[Any]:
    """The gradients by which a rule learns from some of eight samples."""
    model, (x, y) = wrap(rule_cases.network(norm=False)), rule_cases.batch(8)
    make(name, THREATS[0], STILL, steps=2)(model, x[rows], y[rows]).backward()
    return [p.grad for p in model.parameters()]


def shard(module: nn.Module, mesh: Any) -> nn.Module:
    """Share out each layer's weights, then the rest; a single layer's not at all."""
    if isinstance(module, nn.Linear):
        return module
    for part in module.modules():
        if isinstance(part, nn.Linear):
            fully_shard(part, mesh=mesh["data_parallel"])
    return fully_shard(module, mesh=mesh["data_parallel"])


@dataclass
class Unlearning(Plain):
    """From half-time on it unlearns, until the guard goes back and doubles its weight."""

    threat: ThreatModel = NEAR
    weight: float = 1.0

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return super().loss(model, x, y) * (-1 if self.progress >= 0.5 and self.weight < 2 else 1)


#: Rules that differentiate twice, that read the weights, and that the guard sets back.
RULES = {"dirichlet": STILL, "certified": {}, "unlearning": {}}


def by_rule(fabric: Fabric, name: str) -> dict[str, Any]:
    """Train with averaged weights by one of the rules above."""
    model, rule = network(nn.Identity()), Unlearning() if name == "unlearning" else make(name, THREATS[0], RULES[name])
    fit(model, data("tensors"), rule, epochs=6, batch_size=16, lr=0.3, ema=0.5, fabric=fabric)
    return {"weights": model.state_dict(), "doublings": rule.doublings}


def sharded(fabric: Fabric, folder: Path) -> dict[str, Any]:
    """Train on shares of the weights: anew, from what one process has left, by other rules; and what is refused."""
    found: dict[str, Any] = {name: by_rule(fabric, name) for name in RULES}
    found |= {form: train(fabric, folder / form, "tensors", resume=form == "taken up") for form in ("anew", "taken up")}
    model, out = network(nn.Identity()), shard(network(nn.Identity()), fabric.strategy.device_mesh)
    complex_ = HolomorphicMLP((4,), 2, width=8, depth=1).double()
    adam, found["refused"] = torch.optim.Adam(model.parameters()), []
    tries = [(model, "plain", adam), (model, "awp", "sgd"), *((m, *PLAIN) for m in (model[0], out, complex_))]
    for other, rule, optimizer in tries:
        try:
            fit(other, data("tensors"), rule, threat=NEAR, optimizer=optimizer, fabric=fabric)
        except HolomorphError as error:
            found["refused"].append(str(error))
    return found


def sharing(data_parallel_size: int, tensor_parallel_size: int) -> Fabric:
    """An engine that shares weights out."""
    strategy = ModelParallelStrategy(shard, data_parallel_size, tensor_parallel_size)
    return Fabric(accelerator="cpu", devices=2, strategy=strategy)


def work(fabric: Fabric, folder: Path, task: str, words: list[str]) -> None:
    """Carry out a task, and leave what came out; a sentence where it fails."""
    (folder / f"rank{fabric.global_rank}.pid").write_text(str(os.getpid()))
    try:
        if task == "all":
            found: Any = {form: train(fabric, folder, form) for form in FORMS}
            half = slice(4 * fabric.global_rank, 4 * fabric.global_rank + 4)
            found["gradients"] = {name: gradients(name, half, DistributedDataParallel) for name in rules.RULES}
        elif task in ("norms", "sharded"):
            found = {"norms": norms, "sharded": sharded}[task](fabric, folder)
        else:
            found = train(fabric, folder, "tensors", slowly="slowly" in words, resume="resume" in words)
    except HolomorphError as error:
        print(error, flush=True)
        os._exit(2)
    torch.save(found, folder / f"rank{fabric.global_rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    precision: Any = "bf16-mixed" if sys.argv[2] == "norms" else "32-true"
    whole = Fabric(accelerator="cpu", devices=2, strategy=DDPStrategy(start_method="spawn"), precision=precision)
    fabric = {"sharded": sharing(2, 1), "split": sharing(1, 2)}.get(sys.argv[2], whole)
    try:
        fabric.launch(work, Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
    except Exception as error:  # what the launcher says of a lost process, in one line
        print(type(error).__name__)
        sys.exit(1)
