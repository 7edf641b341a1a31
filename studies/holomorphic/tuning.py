"""One criterion for all methods, decided before any test sample was looked at.

A setting is *admissible* if its accuracy on held-out samples is within one standard error of the best (Breiman et al.
1984); among the admissible ones the largest median l_2 perturbation wins, measured like on the test samples (with 20
steps of DDN instead of 60 of DDN and FMN), on up to 50 held-out samples a round (20 of each of ten), 0 where wrong
from the start.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holomorph.attacks.foolbox import FoolboxAttack
from holomorph.contract.classifier import Classifier
from holomorph.errors import HolomorphError
from holomorph.research.geometry import PlanarBoundary, decision_boundary
from holomorph.threats import ThreatModel
from studies.holomorphic.rivals import Method, Settings
from studies.holomorphic.walk import walk

HELD, FOLDED, REACH = 50, 20, 10.0
Round = tuple[np.ndarray, np.ndarray]


def tune(
    method: Method, x: np.ndarray, y: np.ndarray, rounds: list[Round], seed: int
) -> tuple[Settings, list[dict[str, Any]]]:
    """The setting chosen, and what was seen of all; each round is indices to train on and indices to hold out."""
    seen = [_validate(method, setting, x, y, rounds, seed) for setting in method.settings]
    best = max(row["accuracy"] for row in seen)
    error = math.sqrt(best * (1 - best) / sum(len(held) for _, held in rounds))
    admissible = [k for k, row in enumerate(seen) if row["accuracy"] >= best - error]
    chosen = max(admissible, key=lambda k: seen[k]["median"])
    return dict(method.settings[chosen]), seen


def most_accurate(seen: list[dict[str, Any]]) -> Settings:
    """Another criterion, of what :func:`tune` saw: the most accurate setting, of several the one with most distance."""
    return dict(max(seen, key=lambda row: (row["accuracy"], row["median"]))["setting"])


def farthest(seen: list[dict[str, Any]]) -> Settings:
    """Another: the setting with the largest median perturbation, however accurate."""
    return dict(max(seen, key=lambda row: row["median"])["setting"])


def as_far(seen: list[dict[str, Any]], median: float) -> Settings:
    """Another: the most accurate setting with at least this median perturbation; if there is none, the farthest."""
    enough = [row for row in seen if row["median"] >= median]
    return most_accurate(enough) if enough else farthest(seen)


def _validate(
    method: Method, setting: Settings, x: np.ndarray, y: np.ndarray, rounds: list[Round], seed: int
) -> dict[str, Any]:
    right, sizes = [], []
    count = HELD if len(rounds) < 10 else FOLDED
    for train, held in rounds:
        inputs, labels = torch.as_tensor(x[held]), torch.as_tensor(y[held])
        try:
            model = method.fit(x[train], y[train], seed, **setting)
            with torch.no_grad():
                right += (model(inputs).argmax(1) == labels).tolist()
            sizes += smallest(model, inputs, labels, count, ("ddn",), 20).tolist()
        except HolomorphError:  # a kernel that overflows, a singular matrix: this setting fails
            right += [False] * len(held)
            sizes += [0.0] * min(count, len(held))
    return {"setting": setting, "accuracy": float(np.mean(right)), "median": float(np.median(sizes))}


def boundary(model: nn.Module) -> PlanarBoundary:
    """In the plane, on a grid of spacing 0.055."""
    return decision_boundary(model, (-3.52, 3.52), 129)


def smallest(
    model: nn.Module,
    pool: Tensor,
    labels: Tensor,
    count: int,
    attacks: tuple[str, ...],
    steps: int,
    bends: PlanarBoundary | None = None,
) -> Tensor:
    """The smallest l_2 perturbation found of the pool's first samples, at most REACH; 0 where wrong from the start.

    In the plane: the distance to the boundary, ``bends`` if it is known. Else the least of the attacks and of a walk
    from the pool's samples of other classes.
    """
    x, y = pool[:count], labels[:count]
    with torch.no_grad():
        right = model(x).argmax(1) == y
    if x.shape[1] == 2:
        points = (bends or boundary(model)).points
        found = torch.cdist(x, points).amin(1) if len(points) else torch.full_like(x[:, 0], REACH)
    else:
        found = torch.minimum(_attacked(model, x, y, attacks, steps), walk(model, x, y, pool))
    return found.clamp(max=REACH) * right


def _attacked(model: nn.Module, x: Tensor, y: Tensor, attacks: tuple[str, ...], steps: int) -> Tensor:
    threat = ThreatModel(2, 1.0, (math.floor(float(x.min())), math.ceil(float(x.max()))))
    best = torch.full((len(x),), math.inf, dtype=torch.float64)
    for name in attacks:
        found = FoolboxAttack(name, threat, steps=steps)(Classifier(model), x, y, seed=0).double()
        with torch.no_grad():
            success = model(found).argmax(1) != y
        best = torch.where(success, torch.minimum(best, (found - x).norm(dim=1)), best)
    return best
