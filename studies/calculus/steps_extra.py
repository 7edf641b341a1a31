"""What ``steps.py`` measures besides steps: the forward Laplacian and its rivals, and memory."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from holomorph.calculus import dirichlet_energy, laplacian


def quartiles(values: list[float]) -> list[float]:
    """Median, first and third quartile."""
    low, middle, high = statistics.quantiles(values, n=4)
    return [round(v, 3) for v in (middle, low, high)]


def tanh_mlp(outputs: int = 1) -> nn.Sequential:
    hidden: list[nn.Module] = [m for _ in range(2) for m in (nn.Linear(256, 256), nn.Tanh())]
    return nn.Sequential(nn.Linear(784, 256), nn.Tanh(), *hidden, nn.Linear(256, outputs))


def forward_laplacian(model: nn.Module, x: Tensor) -> Tensor:
    return laplacian(model, x, method="forward")


def hessian_trace(model: nn.Module, x: Tensor) -> Tensor:
    H = torch.func.vmap(torch.func.hessian(lambda s: model(s[None])[0]))(x)
    return H.diagonal(dim1=-2, dim2=-1).sum(-1)


def laplacians(rounds: int, jax_python: str) -> dict[str, object]:
    """Wall seconds, one thread; the jax package folx in a process of its own, ours before and after it."""
    table: dict[str, object] = {}
    torch.set_num_threads(1)
    for outputs, count in ((1, 16), (10, 4)):
        torch.manual_seed(0)
        model, x = tanh_mlp(outputs), torch.rand(count, 784)
        with torch.no_grad():
            difference = (forward_laplacian(model, x) - hessian_trace(model, x)).abs().max().item()
            ours, dense = interleaved(rounds, (forward_laplacian, hessian_trace), model, x)
            beside = beside_folx(rounds, jax_python, model, x)
            ours += interleaved(rounds, (forward_laplacian,), model, x)[0]
        memory = {
            f.__name__: peak_megabytes(_laplacian_once, f, outputs, count) for f in (forward_laplacian, hessian_trace)
        }
        table[f"{outputs} outputs, batch {count}"] = {
            "milliseconds": quartiles([1000 * s for s in ours]),
            "milliseconds of the Hessian's trace": quartiles([1000 * s for s in dense]),
            "times faster": round(statistics.median(dense) / statistics.median(ours), 2),
            "megabytes": memory,
            "difference": difference,
            "folx": beside,
        }
    return table


def interleaved(rounds: int, methods: tuple[Callable[..., Tensor], ...], *args: object) -> list[list[float]]:
    """Wall seconds of each method in each round."""
    table: list[list[float]] = [[] for _ in methods]
    for _ in range(rounds):
        for method, row in zip(methods, table, strict=True):
            start = time.perf_counter()
            method(*args)
            row.append(time.perf_counter() - start)
    return table


def beside_folx(rounds: int, python: str, model: nn.Sequential, x: Tensor) -> object:
    """The same network and points in folx, compiled by XLA for one thread."""
    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    arrays = {f"w{i}": layer.weight.numpy() for i, layer in enumerate(linear)}
    arrays |= {f"b{i}": layer.bias.numpy() for i, layer in enumerate(linear)}
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.npz"
        np.savez(path, **arrays, x=x.numpy())
        script = Path(__file__).parent / "folx_laplacian.py"
        done = subprocess.run(
            [python, str(script), str(path), str(rounds)],
            env={**os.environ, "XLA_FLAGS": flags, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 3:
        return f"skipped: {done.stderr.strip()} (pip install 'jax[cpu]' folx, then --jax PYTHON)"
    found = json.loads(done.stdout)
    theirs = torch.tensor(found["laplacian"])
    return {
        "milliseconds": quartiles([1000 * s for s in found["seconds"]]),
        "seconds of compilation": round(found["compilation"], 1),
        "difference": (forward_laplacian(model, x) - theirs.reshape(len(x), -1)).abs().max().item(),
    }


def _laplacian_once(function: Callable[[nn.Module, Tensor], Tensor], outputs: int, count: int) -> None:
    with torch.no_grad():
        function(tanh_mlp(outputs), torch.rand(count, 784))


def _energy_once(method: str, size: int, classes: int) -> None:
    model = nn.Sequential(nn.Linear(size, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, classes))
    dirichlet_energy(model, torch.rand(64, size), method).value.backward()


def memory() -> dict[str, object]:
    """Megabytes above a process that has only loaded torch."""
    table: dict[str, object] = {}
    for method in ("exact", "projection", "dual", "antithetic"):
        rows = {}
        for size, classes in ((784, 10), (784, 100), (784, 1000), (3072, 10), (12288, 10)):
            rows[f"{size} inputs, {classes} classes"] = peak_megabytes(_energy_once, method, size, classes)
        table[method] = rows
    return table


def peak_megabytes(task: Callable[..., None], *args: object) -> float:
    """Growth of the resident set of a fresh process while it runs a task."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=_measure, args=(queue, task, args))
    process.start()
    result: float = queue.get()
    process.join()
    return round(result, 1)


def _measure(queue: multiprocessing.SimpleQueue[float], task: Callable[..., None], args: tuple[object, ...]) -> None:
    torch.set_num_threads(1)  # threads of the parent do not survive a fork
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    task(*args)
    queue.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
