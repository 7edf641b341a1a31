"""What one training step costs, relative to a plain one: this library's estimators and what users write today.

Everything in one process on one thread, interleaved, medians and quartiles of ratios of CPU seconds (wall time says
little on a machine that others use, too); memory in a fresh process each. Results go to
benchmarks/results/steps.json, section by section, so that a run can be resumed:

    python benchmarks/steps.py [steps|laplacian|memory|all] [--rounds 9] [--batch 128]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holomorph.calculus import dirichlet_energy, jets, laplacian
from holomorph.calculus.derivatives import probe
from holomorph.calculus.norms import norm

OUT = Path(__file__).parent / "results" / "steps.json"
STEP = 1e-2


class Residual(nn.Module):
    """Two convolutions with GroupNorm and SiLU, and a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.b = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.na, self.nb = nn.GroupNorm(8, outside), nn.GroupNorm(8, outside)
        self.short = nn.Conv2d(inside, outside, 1, stride) if stride != 1 or inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.na(self.a(x)))
        return F.silu(self.nb(self.b(h)) + self.short(x))


def resnet8() -> nn.Module:
    blocks = [Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2)]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.GroupNorm(8, 16), nn.SiLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class ViT(nn.Module):
    """Four blocks on 64 patches of 4x4."""

    def __init__(self, width: int = 96, heads: int = 4, depth: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.place = nn.Parameter(0.02 * torch.randn(1, 64, width))
        self.n1 = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.n2 = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)) for _ in range(depth)
        )
        self.head, self.heads = nn.Linear(width, 10), heads

    def forward(self, x: Tensor) -> Tensor:
        t = self.patch(x).flatten(2).transpose(1, 2) + self.place
        for n1, qkv, out, n2, mlp in zip(self.n1, self.qkv, self.out, self.n2, self.mlp, strict=True):
            q, k, v = (u.unflatten(-1, (self.heads, -1)).transpose(1, 2) for u in qkv(n1(t)).chunk(3, -1))
            t = t + out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
            t = t + mlp(n2(t))
        return self.head(t.mean(1))


def cnn() -> nn.Module:
    """Reference small CNN of the Fashion-MNIST experiments."""
    convs = [nn.Conv2d(1, 32, 5, 2, 2), nn.GELU(), nn.Conv2d(32, 64, 3, 2, 1), nn.GELU(), nn.Conv2d(64, 64, 3, 1, 1)]
    return nn.Sequential(*convs, nn.GELU(), nn.Flatten(), nn.Linear(3136, 128), nn.GELU(), nn.Linear(128, 10))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "CNN": (cnn, (1, 28, 28)),
    "ResNet-8": (resnet8, (3, 32, 32)),
    "ViT": (ViT, (3, 32, 32)),
}


def plain(model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator) -> Tensor:
    return F.cross_entropy(model(x), y)


def dual(model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator) -> Tensor:
    h, jv = jets.dual(model, x, probe(x, g))
    return F.cross_entropy(h, y) + jv.square().sum(1).mean()


def antithetic(model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator) -> Tensor:
    v = STEP * probe(x, g)
    a, b = model(x + v), model(x - v)
    return (F.cross_entropy(a, y) + F.cross_entropy(b, y)) / 2 + ((a - b) / (2 * STEP)).square().sum(1).mean()


def finite_difference(model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator) -> Tensor:
    point = x.detach().requires_grad_()
    loss = F.cross_entropy(model(point), y, reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), point, retain_graph=True)
    moved = F.cross_entropy(model(x + STEP * gradient.sign()), y, reduction="none")
    return (loss + ((moved - loss) / STEP).square()).mean()


def double_backward(model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator) -> Tensor:
    point = x.detach().requires_grad_()
    loss = F.cross_entropy(model(point), y, reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), point, create_graph=True)
    return (loss + norm(gradient, 1.0).square()).mean()


def projection(model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator) -> Tensor:
    """The Jacobian penalty as users write it: one random projection of the outputs, double backward."""
    point = x.detach().requires_grad_()
    h = model(point)
    (row,) = torch.autograd.grad(h, point, probe(h.detach(), g), create_graph=True)
    return F.cross_entropy(h, y) + row.square().flatten(1).sum(1).mean()


def jacrev(model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator) -> Tensor:
    """The exact Jacobian by torch.func."""

    def one(sample: Tensor) -> Tensor:
        return model(sample[None])[0]

    J = torch.func.vmap(torch.func.jacrev(one))(x)
    return F.cross_entropy(model(x), y) + J.square().flatten(1).sum(1).mean()


METHODS = [plain, dual, antithetic, finite_difference, double_backward, projection, jacrev]


def step_seconds(method: Callable[..., Tensor], model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator) -> float:
    """One step; the optimiser's part, the same for all, is left out."""
    model.zero_grad()
    start = time.process_time()
    method(model, x, y, g).backward()
    return time.process_time() - start


def steps(rounds: int, batch: int, only: str | None = None) -> dict[str, object]:
    table: dict[str, object] = {}
    for name, (make, shape) in NETWORKS.items():
        if only not in (None, name):
            continue
        torch.manual_seed(0)
        model, g = make(), torch.Generator().manual_seed(0)
        x, y = torch.rand(batch, *shape), torch.randint(10, (batch,))
        ratios: dict[str, list[float]] = {m.__name__: [] for m in METHODS}
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            for r in range(rounds + 1):
                seconds = {m.__name__: step_seconds(m, model, x, y, g) for m in METHODS}
                base = (seconds["plain"] + step_seconds(plain, model, x, y, g)) / 2  # before and after the others
                if r > 0:
                    for key, value in seconds.items():
                        ratios[key].append(value / base)
        row: dict[str, object] = {k: quartiles(v) for k, v in ratios.items()}
        row["variance of dual / projection"] = variance_ratio(model, x)
        row["rounds, batch"] = [rounds, batch]
        table[name] = row
    return table


def quartiles(values: list[float]) -> list[float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return [round(v, 3) for v in (middle, low, high)]


def variance_ratio(model: nn.Module, x: Tensor) -> float:
    """Of one probe a sample, at initialisation, around the exact energy of each sample."""
    some, g = x[:4], torch.Generator().manual_seed(0)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), torch.no_grad():
        exact = dirichlet_energy(model, some).each
        many = some.repeat(100, *(1,) * (some.ndim - 1))
        spread = [
            (dirichlet_energy(model, many, m, generator=g).each.reshape(100, 4) - exact).square().mean(0)
            for m in ("dual", "projection")
        ]
    return round(float((spread[0] / spread[1]).median()), 2)


def tanh_mlp(outputs: int = 1) -> nn.Sequential:
    hidden: list[nn.Module] = [m for _ in range(2) for m in (nn.Linear(256, 256), nn.Tanh())]
    return nn.Sequential(nn.Linear(784, 256), nn.Tanh(), *hidden, nn.Linear(256, outputs))


def forward_laplacian(model: nn.Module, x: Tensor) -> Tensor:
    return laplacian(model, x, method="forward")


def hessian_trace(model: nn.Module, x: Tensor) -> Tensor:
    H = torch.func.vmap(torch.func.hessian(lambda s: model(s[None])[0]))(x)
    return H.diagonal(dim1=-2, dim2=-1).sum(-1)


def laplacians(rounds: int, batch: int, only: str | None = None) -> dict[str, object]:
    table: dict[str, object] = {}
    for outputs, count in ((1, 16), (10, 4)):
        torch.manual_seed(0)
        model, x = tanh_mlp(outputs), torch.rand(count, 784)
        ratios: list[float] = []
        with torch.no_grad():
            difference = (forward_laplacian(model, x) - hessian_trace(model, x)).abs().max().item()
            for _ in range(rounds):
                start = time.process_time()
                forward_laplacian(model, x)
                middle = time.process_time()
                hessian_trace(model, x)
                ratios.append((time.process_time() - middle) / (middle - start))
        memory = {
            f.__name__: peak_megabytes(_laplacian_once, f, outputs, count) for f in (forward_laplacian, hessian_trace)
        }
        table[f"{outputs} outputs, batch {count}"] = {
            "times faster": quartiles(ratios),
            "megabytes": memory,
            "difference": difference,
        }
    table["folx"] = beside_folx()
    return table


def beside_folx() -> str:
    """The same network in the jax package folx, if it is there."""
    try:
        import folx  # noqa: F401
        import jax  # noqa: F401
    except ImportError:
        return "skipped: jax and folx are not installed"
    return "installed, but this script has no measurement for it yet"


def _laplacian_once(function: Callable[[nn.Module, Tensor], Tensor], outputs: int, count: int) -> None:
    with torch.no_grad():
        function(tanh_mlp(outputs), torch.rand(count, 784))


def _energy_once(method: str, size: int, classes: int) -> None:
    model = nn.Sequential(nn.Linear(size, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, classes))
    dirichlet_energy(model, torch.rand(64, size), method).value.backward()


def memory(rounds: int, batch: int, only: str | None = None) -> dict[str, object]:
    """Megabytes above a process that has done everything but the energy (a plain forward and backward pass)."""
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


def main() -> None:
    sections = {"memory": memory, "laplacian": laplacians, "steps": steps}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", nargs="?", default="all", choices=[*sections, "all"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--network", choices=list(NETWORKS), help="measure the steps of this network only")
    options = parser.parse_args()
    found = json.loads(OUT.read_text()) if OUT.exists() else {}
    for name, section in sections.items():
        if options.section in (name, "all") and not (options.section == "all" and name in found):
            result = section(options.rounds, options.batch, options.network)
            found[name] = {**found.get(name, {}), **result} if name == "steps" else result
            OUT.write_text(json.dumps(found, indent=1) + "\n")
            sys.stdout.write(json.dumps({name: found[name]}, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
