"""Accuracy against eps, from the smallest perturbation found for each sample."""

import torch
from torch import Tensor

from holomorph.records.evaluation import AccuracyCurve
from holomorph.threats import ThreatModel


def accuracy_curve(smallest: Tensor, threat: ThreatModel, attacks: tuple[str, ...], points: int = 41) -> AccuracyCurve:
    r"""The share of samples with $\|\delta\|_p > \varepsilon$ for the nearest adversarial input found.

    An upper bound of the robust accuracy at every eps at once. The grid holds the threat's eps and ends where the last
    sample falls, but not below 1.25 and not above 4 times eps. A sample that is wrong unperturbed has the distance 0,
    one for which nothing was found an infinite one.

    >>> threat = ThreatModel("inf", 0.1)
    >>> curve = accuracy_curve(torch.tensor([0.0, 0.05, torch.inf]), threat, ("fmn",), points=3)
    >>> [round(a, 3) for a in curve.accuracy]
    [0.667, 0.333, 0.333, 0.333]
    """
    finite = smallest[smallest.isfinite()].cpu().double()
    farthest = float(finite.max()) if len(finite) else 0.0
    end = min(max(1.05 * farthest, 1.25 * threat.radius), 4 * threat.radius)
    grid = sorted({*torch.linspace(0, end, points, dtype=torch.float64).tolist(), threat.radius})
    accuracy = [float((smallest > eps * (1 + 1e-5)).cpu().double().mean()) for eps in grid]
    return AccuracyCurve(
        norm=threat.norm, samples=len(smallest), attacks=attacks, eps=tuple(grid), accuracy=tuple(accuracy)
    )
