"""Continuity bias: one network against region-wise experts at equal parameters. ``python benchmarks/experts.py``.

In two dimensions the attack is exhaustive: the hard system is evaluated on a grid of the threat's ball, so the gate's
jumps are found whatever its gradients say. On the digits each sample is attacked through every view of the system
(hard, soft, each expert) with APGD, and counts as broken if any of the examples fools the hard system.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import make_circles, make_moons
from torch import Tensor, nn

from holomorph.data import load
from holomorph.evaluation.subject import Subject, under_attack
from holomorph.framework.experts import MixtureOfExperts
from holomorph.framework.proposals import StrongestAPGD
from holomorph.nn.classifiers import MLP
from holomorph.rules import parse
from holomorph.training.fit import fit
from holomorph.types import ThreatModel, write_atomically

RESULTS = Path(__file__).parent / "results" / "experts.md"
PLANE, DIGITS = ThreatModel("inf", 0.05), ThreatModel("inf", 0.1)
SEEDS = (0, 1)


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
            made = StrongestAPGD("apgd-ce", threat, classes, steps=30)(Subject(view), x, y, 0)
        with torch.no_grad():
            alive &= model(made).argmax(1) == y
    return alive


def row(data: str, rule: str, seed: int) -> list[tuple[str, int, float, float]]:
    """Train both systems and attack them: (system, parameters, clean, robust)."""
    torch.manual_seed(seed)
    if data == "digits":
        splits = load("digits")
        train, (x, y), threat = (splits.x_train, splits.y_train), (splits.x_test, splits.y_test), DIGITS
        kinds, epochs = systems((1, 8, 8), 10, 64), 15
    else:
        train, (x, y), threat = plane(data, seed), plane(data, seed + 100), PLANE
        kinds, epochs = systems((2,), 2, 32), 120
    found = []
    for name, model in kinds.items():
        fit(model, train, parse(rule, threat), epochs=epochs, batch_size=64, lr=1e-2, seed=seed)
        model.eval()
        with torch.no_grad():
            clean = float((model(x).argmax(1) == y).float().mean())
        alive = adaptive(model, x, y, threat, 10) if data == "digits" else exhaustive(model, x, y, threat)
        found.append((name, sum(p.numel() for p in model.parameters()), clean, float(alive.float().mean())))
    return found


def main() -> None:
    lines = ["| data | rule | system | parameters | clean | robust |", "|---|---|---|---|---|---|"]
    for data in ("moons", "circles", "spirals", "digits"):
        for rule in ("plain", "dirichlet"):
            rows = [row(data, rule, seed) for seed in SEEDS]
            for k in range(2):
                (name, count), figures = rows[0][k][:2], np.array([r[k][2:] for r in rows])
                spread = zip(figures.mean(0), figures.std(0, ddof=1), strict=True)
                clean, robust = (f"{100 * mean:.1f} ± {100 * std:.1f}" for mean, std in spread)
                lines.append(f"| {data} | {rule} | {name} | {count} | {clean} | {robust} |")
                print(lines[-1], flush=True)
            write_atomically(RESULTS, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
