"""Continuity bias: one network against region-wise experts at equal parameters. ``python -m studies.explain.experts``.

In two dimensions the attack is exhaustive: the hard system is evaluated on a grid of the threat's ball, so the gate's
jumps are found whatever its gradients say. On images (of Fashion-MNIST 4,000 for training and 400 for testing) each
sample is attacked through every view of the system (hard, soft, each expert) with APGD, and counts as broken if any of
the examples fools the hard system.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from sklearn.datasets import make_circles, make_moons
from torch import Tensor, nn

from holomorph._utils.io import write_atomically
from holomorph._utils.statistics import bootstrap
from holomorph.contract.classifier import Classifier
from holomorph.contract.receiving import under_attack
from holomorph.data import load_data
from holomorph.nn.classifiers import MLP
from holomorph.records.base import Interval
from holomorph.records.explanation import ExpertRow
from holomorph.research.experts import MixtureOfExperts
from holomorph.rules import parse
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from holomorph.transferability.examples import StrongestAPGD
from studies.kept import keep, results

RESULTS = results("explain")
PLANE, IMAGES = ThreatModel("inf", 0.05), ThreatModel("inf", 0.1)
DATA, RULES, SEEDS = ("spirals", "digits", "fashion-mnist", "moons", "circles"), ("plain", "dirichlet"), (0, 1)


def plane(name: str, seed: int, count: int = 600) -> tuple[Tensor, Tensor]:
    """Points of a toy set, scaled into the unit square."""
    if name == "spirals":
        draws = np.random.default_rng(seed)
        y = np.arange(count) % 2
        t = np.sqrt(draws.random(count)) * 3 * np.pi
        points = np.stack([t * np.cos(t + np.pi * y), t * np.sin(t + np.pi * y)], 1) / (3 * np.pi)
        points += 0.02 * draws.normal(size=points.shape)
    elif name == "moons":
        points, y = make_moons(count, noise=0.08, random_state=seed)
        points = (points - [0.5, 0.25]) / 1.4
    else:
        points, y = make_circles(count, noise=0.06, factor=0.5, random_state=seed)
    x = torch.from_numpy(np.clip(0.5 + points / 2.4, 0, 1)).float()
    return x, torch.from_numpy(y).long()


def systems(shape: tuple[int, ...], classes: int, width: int) -> dict[str, nn.Module]:
    """One network, and three experts with a gate of as many parameters (within a few percent)."""
    single = MLP(shape, classes, width=width)
    budget = sum(p.numel() for p in single.parameters())
    for narrow in range(width, 3, -1):
        parts = [MLP(shape, classes, width=narrow) for _ in range(3)]
        mixture = MixtureOfExperts(MLP(shape, 3, width=max(4, narrow // 2), depth=1), parts)
        if sum(p.numel() for p in mixture.parameters()) <= budget:
            return {"one network": single, "three experts": mixture}
    raise ValueError("The network is too small to be divided.")


def exhaustive(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, side: int = 21) -> Tensor:
    """Which samples stay right on a grid of the ball around them."""
    line = torch.linspace(-threat.radius, threat.radius, side)
    alive = torch.ones(len(x), dtype=torch.bool)
    with torch.no_grad():
        for step in torch.cartesian_prod(line, line):
            alive &= model((x + step).clamp(*threat.box)).argmax(1) == y
    return alive


def adaptive(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, classes: int) -> Tensor:
    """Which samples survive the examples made on every view of the system."""
    views = model.views() if isinstance(model, MixtureOfExperts) else {"": model}
    with torch.no_grad():
        alive = model(x).argmax(1) == y
    for view in views.values():
        with under_attack(view):
            made = StrongestAPGD("apgd-ce", threat, classes, steps=30)(Classifier(view), x, y, 0)
        with torch.no_grad():
            alive &= model(made).argmax(1) == y
    return alive


def arena(data: str, seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], ThreatModel]:
    """Training samples, test samples and threat of one data set."""
    if data in ("moons", "circles", "spirals"):
        return plane(data, seed), plane(data, seed + 100), PLANE
    splits = load_data(data)
    train, test = (splits.x_train[:4000], splits.y_train[:4000]), (splits.x_test[:400], splits.y_test[:400])
    return train, test, IMAGES


def row(data: str, rule: str) -> list[dict[str, Any]]:
    """Train both systems from each seed and attack them."""
    outcomes: dict[str, list[tuple[Tensor, Tensor]]] = {}
    sizes: dict[str, int] = {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        train, (x, y), threat = arena(data, seed)
        flat = x.ndim == 2
        for name, model in systems(tuple(x.shape[1:]), 2 if flat else 10, 32 if flat else 64).items():
            fit(model, train, parse(rule, threat), epochs=120 if flat else 15, batch_size=64, lr=1e-2 if flat else 3e-3,
                seed=seed)  # fmt: skip
            model.eval()
            with torch.no_grad():
                clean = model(x).argmax(1) == y
            alive = exhaustive(model, x, y, threat) if flat else adaptive(model, x, y, threat, 10)
            outcomes.setdefault(name, []).append((clean, alive))
            sizes[name] = sum(p.numel() for p in model.parameters())
    return [
        ExpertRow(
            data=data, system=name, rule=rule, parameters=sizes[name], threat=str(threat),
            clean=_share([c for c, _ in pairs]), robust=_share([a for _, a in pairs]),
        ).model_dump()
        for name, pairs in outcomes.items()
    ]  # fmt: skip


def _share(right: list[Tensor]) -> Interval:
    """Mean over samples and seeds; samples are drawn with replacement, the seeds together."""
    return bootstrap(lambda r: float(r.mean()), torch.stack(right, 1).double().numpy())


def main() -> None:
    torch.set_num_threads(1)
    rows = {f"{data}, {rule}": functools.partial(row, data, rule) for data in DATA for rule in RULES}
    lines = ["| data | rule | system | parameters | clean | robust |", "|---|---|---|---|---|---|"]
    for found in keep(RESULTS / "experts.json", rows).values():
        for line in (ExpertRow.model_validate(entry) for entry in found):
            c, r = (f"{100 * v.value:.1f} ({100 * v.low:.1f} to {100 * v.high:.1f})" for v in (line.clean, line.robust))
            lines.append(f"| {line.data} | {line.rule} | {line.system} | {line.parameters} | {c} | {r} |")
    write_atomically(RESULTS / "experts.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


if __name__ == "__main__":
    main()
