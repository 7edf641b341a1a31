"""What ``steps.py`` measures besides steps: the forward Laplacian and its alternatives, and memory."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue

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


def laplacians(rounds: int) -> dict[str, object]:
    """Wall seconds, one thread."""
    table: dict[str, object] = {}
    torch.set_num_threads(1)
    for outputs, count in ((1, 16), (10, 4)):
        torch.manual_seed(0)
        model, x = tanh_mlp(outputs), torch.rand(count, 784)
        with torch.no_grad():
            difference = (forward_laplacian(model, x) - hessian_trace(model, x)).abs().max().item()
            ours, dense = interleaved(rounds, (forward_laplacian, hessian_trace), model, x)
        table[f"{outputs} outputs, batch {count}"] = {
            "milliseconds": quartiles([1000 * s for s in ours]),
            "milliseconds of the Hessian's trace": quartiles([1000 * s for s in dense]),
            "times faster": round(statistics.median(dense) / statistics.median(ours), 2),
            "difference": difference,
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


def _measure(queue: SimpleQueue[float], task: Callable[..., None], args: tuple[object, ...]) -> None:
    torch.set_num_threads(1)  # threads of the parent do not survive a fork
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    task(*args)
    queue.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
