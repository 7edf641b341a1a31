"""Decision trees: the exact distance to the nearest leaf with another prediction."""

import numpy as np
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from holomorph.threats import ThreatModel

#: A tree rounds its inputs to single precision, by at most this share of their size.
_ROUNDING = 2.0**-23


def tree_radius(tree: DecisionTreeClassifier, x: Tensor, threat: ThreatModel) -> Tensor:
    r"""The largest radius within which the prediction stands, for each sample: (batch,).

    A leaf is a box $\prod_i (a_i, b_i]$, so the radius is $\min \|x - x'\|_p$ over the boxes of the leaves that predict
    another class, each cut with the threat's box. The rounding of the inputs to single precision is taken off.

    >>> tree = DecisionTreeClassifier().fit([[0.0, 0.0], [1.0, 0.0]], [0, 1])
    >>> tree_radius(tree, torch.tensor([[0.2, 0.0], [1.0, 0.0]]).double(), ThreatModel("inf", 0.1))
    tensor([0.3000, 0.5000], dtype=torch.float64)
    """
    rows, (least, most) = x.double().cpu(), threat.box
    low, high, winners = _leaves(tree, rows.shape[1], threat)
    mine = torch.from_numpy(tree.predict_proba(rows.numpy()).argmax(1))
    one = rows.shape[1] ** (1 / threat.p)  # the norm of a row of ones
    radius = torch.full((len(rows),), one * (most - least), dtype=torch.float64)  # nothing in the box is farther
    for a, b, winner in zip(low, high, winners, strict=True):
        if bool((a <= b).all()):
            away = torch.maximum(a - rows, rows - b).clamp_min(0).norm(threat.p, 1)
            radius = torch.where(mine == winner, radius, radius.minimum(away))
    return (radius - _ROUNDING * one * max(abs(least), abs(most))).clamp_min(0).to(x.device)


def _leaves(
    tree: DecisionTreeClassifier, features: int, threat: ThreatModel
) -> tuple[list[Tensor], list[Tensor], list[int]]:
    """Lower and upper corners of the leaves inside the threat's box, and the class that each predicts."""
    nodes, (least, most) = tree.tree_, threat.box
    whole = (torch.full((features,), float(least)).double(), torch.full((features,), float(most)).double())
    low, high, winners, left = [], [], [], [(0, *whole)]
    while left:
        node, a, b = left.pop()
        feature, threshold = int(nodes.feature[node]), float(nodes.threshold[node])
        if nodes.children_left[node] < 0:
            low.append(a)
            high.append(b)
            winners.append(int(np.argmax(nodes.value[node][0])))
            continue
        here = torch.arange(features) == feature
        left.append((int(nodes.children_left[node]), a, torch.where(here, b.clamp_max(threshold), b)))
        left.append((int(nodes.children_right[node]), torch.where(here, a.clamp_min(threshold), a), b))
    return low, high, winners
