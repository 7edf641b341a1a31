"""What one training step costs, relative to a plain one: this library's estimators and what users write today.

Everything in one process, methods interleaved; medians and quartiles of ratios to the plain steps before and after.
Wall time by default, for an idle machine; ``--clock cpu`` where others compute, too (one thread only: it adds up
threads). Results go to steps.json as they come; what is there with the same settings is not measured
again unless ``--again``:

    python -m studies.calculus.steps [steps|variance|laplacian|memory|all] [--threads 2] [--rounds 9] [--batch 64]
        [--network CNN] [--clock wall|cpu] [--again]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from holomorph import ThreatModel
from holomorph.calculus import Samples, dirichlet_energy, jets
from holomorph.calculus.derivatives import probe
from holomorph.calculus.norms import norm
from holomorph.nn.classifiers.cnn import CNN
from holomorph.nn.classifiers.resnet import ResNet
from holomorph.nn.classifiers.vit import ViT
from holomorph.rules import Dirichlet
from studies.calculus.steps_extra import laplacians, memory, quartiles
from studies.kept import results

OUT = results("calculus") / "steps.json"
STEP = 1e-2
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

#: The three networks, and the shape of a sample.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "CNN": (lambda: CNN((1, 28, 28), 10), (1, 28, 28)),
    "ResNet-8": (lambda: ResNet((3, 32, 32), 10, depth=8, norm="group", activation="silu"), (3, 32, 32)),
    "ViT": (lambda: ViT((3, 32, 32), 10, patch=4, width=96), (3, 32, 32)),
}

#: A method gives the loss of one step.
Method = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]


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
    """Along the sign of the gradient: an input gradient without parameter gradients, the clean forward pass reused."""
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


def lazy(every: int) -> Method:
    """The rule itself, at the samples, with its energy at every k-th call."""
    rule = Dirichlet(ThreatModel("inf", STEP), measure=Samples(), estimator="double-backward", lazy=every)
    return lambda model, x, y, g: rule(model, x, y)


METHODS: dict[str, Method] = {
    "plain": plain,
    "dual": dual,
    "antithetic": antithetic,
    "finite difference": finite_difference,
    "double backward": double_backward,
    "lazy 2": lazy(2),
    "lazy 4": lazy(4),
    "projection": projection,
    "jacrev": jacrev,
}


def step_seconds(method: Method, model: nn.Module, x: Tensor, y: Tensor, g: torch.Generator, clock: str) -> float:
    """One step without the optimiser's part, the same for all; no gradient of the input is asked of ``backward``."""
    model.zero_grad()
    now = CLOCKS[clock]
    start = now()
    method(model, x, y, g).backward(inputs=list(model.parameters()))
    return now() - start


def steps(name: str, options: argparse.Namespace) -> dict[str, object]:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model, g = make(), torch.Generator().manual_seed(0)
    x, y = torch.rand(options.batch, *shape), torch.randint(10, (options.batch,))
    ratios: dict[str, list[float]] = {key: [] for key in METHODS}
    base: list[float] = []

    def seconds(method: Method) -> float:
        return step_seconds(method, model, x, y, g, options.clock)

    with sdpa_kernel(SDPBackend.MATH):
        for r in range(options.rounds + 1):
            before = seconds(plain)
            for key, method in METHODS.items():
                calls = int(key.split()[1]) if key.startswith("lazy") else 1
                took = sum(seconds(method) for _ in range(calls)) / calls
                after = seconds(plain)
                if r > 0:  # the first round warms up
                    ratios[key].append(2 * took / (before + after))
                    base.append(after)
                before = after
    settings = {"rounds": options.rounds, "batch": options.batch, "clock": options.clock}
    return {
        "settings": settings,
        "plain, milliseconds": round(1000 * statistics.median(base), 2),
        **{k: quartiles(v) for k, v in ratios.items()},
    }


def variance(name: str) -> float:
    """Variance of one dual probe over that of one output probe, at initialisation: median over four samples."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model, some, g = make(), torch.rand(4, *shape), torch.Generator().manual_seed(0)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        exact = dirichlet_energy(model, some).each
        many = some.repeat(100, *(1,) * (some.ndim - 1))
        spread = [
            (dirichlet_energy(model, many, m, generator=g).each.reshape(100, 4) - exact).square().mean(0)
            for m in ("dual", "projection")
        ]
    return round(float((spread[0] / spread[1]).median()), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = ("steps", "variance", "laplacian", "memory")
    parser.add_argument("section", nargs="?", default="all", choices=[*sections, "all"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--network", choices=list(NETWORKS), help="this network only")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--again", action="store_true", help="measure even what is there")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    for section in sections if options.section == "all" else (options.section,):
        for key, measure in _parts(section, options).items():
            if options.again or key not in found.get(section, {}):
                found.setdefault(section, {})[key] = measure()
                options.out.write_text(json.dumps(found, indent=1) + "\n")
                sys.stdout.write(json.dumps({section: {key: found[section][key]}}) + "\n")
                sys.stdout.flush()


def _parts(section: str, options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """The pieces of a section, each measured and saved by itself."""
    names = [options.network] if options.network else list(NETWORKS)
    threads = f"{options.threads} thread" + "s" * (options.threads > 1)
    if section == "steps":
        return {f"{n}, {threads}": lambda n=n: steps(n, options) for n in names}
    if section == "variance":
        return {n: lambda n=n: variance(n) for n in names}
    if section == "laplacian":
        return {"tanh network": lambda: laplacians(options.rounds)}
    return {"megabytes": memory}


if __name__ == "__main__":
    main()
