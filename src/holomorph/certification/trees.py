"""Decision trees: the exact distance to the nearest leaf with another prediction."""

import numpy as np
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from holomorph.threats import ThreatModel
from holomorph.threats.features import Features

#: A tree rounds its inputs to single precision, by at most this share of their size.
_ROUNDING = 2.0**-23


def tree_radius(
    tree: DecisionTreeClassifier, x: Tensor, threat: ThreatModel, features: Features | None = None
) -> Tensor:
    r"""The largest radius within which the prediction stands, for each sample: (batch,).

    A leaf is a box $\prod_i (a_i, b_i]$, so the radius is $\min \|(x - x')/\varepsilon\|_p$ over the boxes of the
    leaves that predict another class, each cut with the threat's box, or with the walls of ``features``, whose eps then
    are the units; frozen ones stay. The rounding of the inputs to single precision is taken off.

    >>> tree = DecisionTreeClassifier().fit([[0.0, 0.0], [1.0, 0.0]], [0, 1])
    >>> tree_radius(tree, torch.tensor([[0.2, 0.0], [1.0, 0.0]]).double(), ThreatModel("inf", 0.1))
    tensor([0.3000, 0.5000], dtype=torch.float64)
    """
    rows, one = x.double().cpu(), torch.ones(x.shape[1], dtype=torch.float64)
    least, most, unit, free = threat.box[0] * one, threat.box[1] * one, one, one > 0
    if features is not None:
        least, most, unit, free = features.low, features.high, features.unit, features.free
    rounding = _ROUNDING * torch.maximum(least.abs(), most.abs())
    mine = torch.from_numpy(tree.predict_proba(rows.numpy()).argmax(1))
    farthest = torch.where(free, (most - least) / unit, 0.0).norm(threat.p)  # nothing between the walls is farther
    radius = farthest.expand(len(rows))
    for a, b, winner in zip(*_leaves(tree, least, most), strict=True):
        if bool((a <= b).all()):
            away = torch.maximum(a - rows, rows - b).clamp_min(0)
            away = torch.where(free, away / unit, torch.where(away > rounding, torch.inf, 0.0)).norm(threat.p, 1)
            radius = torch.where(mine == winner, radius, radius.minimum(away))
    return (radius - torch.where(free, rounding / unit, 0.0).norm(threat.p)).clamp_min(0).to(x.device)


def _leaves(tree: DecisionTreeClassifier, least: Tensor, most: Tensor) -> tuple[list[Tensor], list[Tensor], list[int]]:
    """Lower and upper corners of the leaves between the walls, and the class that each predicts."""
    nodes = tree.tree_
    low, high, winners, left = [], [], [], [(0, least, most)]
    while left:
        node, a, b = left.pop()
        feature, threshold = int(nodes.feature[node]), float(nodes.threshold[node])
        if nodes.children_left[node] < 0:
            low.append(a)
            high.append(b)
            winners.append(int(np.argmax(nodes.value[node][0])))
            continue
        here = torch.arange(len(least)) == feature
        left.append((int(nodes.children_left[node]), a, torch.where(here, b.clamp_max(threshold), b)))
        left.append((int(nodes.children_right[node]), torch.where(here, a.clamp_min(threshold), a), b))
    return low, high, winners
