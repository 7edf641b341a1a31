"""Tabular inputs: an eps and a box for each feature, zero eps for those that nobody can change."""

from __future__ import annotations

import torch
from torch import Tensor

from holomorph.calculus.norms import random_in_ball
from holomorph.errors import DataError
from holomorph.evaluation.attack import Attacked
from holomorph.evaluation.pgd import ascend
from holomorph.evaluation.subject import Subject, under_attack
from holomorph.evaluation.traits import check_labels
from holomorph.seeding import generator
from holomorph.types import Differentiable, ThreatModel, check_batch


def attack_features(
    model: Differentiable,
    x: Tensor,
    y: Tensor,
    *,
    eps: Tensor,
    low: Tensor,
    high: Tensor,
    steps: int = 100,
    restarts: int = 3,
    seed: int = 0,
) -> Attacked:
    r"""Attack each feature within its own radius and box, by our ascent on the margin.

    $$|\delta_j| \le \varepsilon_j, \qquad \mathrm{lo}_j \le x_j + \delta_j \le \mathrm{hi}_j$$

    The ascent moves $d \in [-1, 1]^n$ with $\delta = \varepsilon d$, clipped to the box: a change of units, so the
    attack is that of an ordinary l_inf threat. A feature with eps 0 is frozen. The attack packages know one eps
    and one box for all coordinates and cannot serve here.

    Parameters
    ----------
    x, y:
        Samples (batch, features...), labels from 0.
    eps, low, high:
        One number a feature, of the shape of a sample; eps in the units of each feature.
    steps, restarts, seed:
        Of the ascent; the first start is the sample, the others are uniform in the threat.

    Returns
    -------
    Attacked
        ``distance`` is $\max_j |\delta_j| / \varepsilon_j$, at most 1 where broken, infinite where nothing was found.

    Raises
    ------
    DataError
        For samples outside their box, or a negative eps.

    Source: docs/evaluation.md.

    Examples
    --------
    >>> x, y = torch.tensor([[1.0, 40.0]]), torch.tensor([0])
    >>> linear = lambda x: torch.stack([x[:, 0] * 0, x[:, 0] - 1.5 + (x[:, 1] - 40) / 100], 1)
    >>> walls = dict(low=torch.tensor([0.0, 0.0]), high=torch.tensor([2.0, 100.0]))
    >>> attack_features(linear, x, y, eps=torch.tensor([0.4, 20.0]), **walls).broken
    tensor([True])
    >>> attack_features(linear, x, y, eps=torch.tensor([0.4, 0.0]), **walls).broken
    tensor([False])
    """
    check_batch(x, y)
    if (eps < 0).any() or not (eps > 0).any():
        raise DataError("Every eps must be at least 0, and one of them positive.")
    if (x < low).any() or (x > high).any():
        raise DataError("Some samples lie outside the box of their features. Widen low and high, or clip the data.")
    cube = ThreatModel("inf", 1.0, (-1.0, 1.0))
    draws = generator(seed, "attack on features")
    with under_attack(model):
        lifted = Subject(lambda d: model((x + eps * d).clamp(low, high)))
        origin = torch.zeros_like(x)
        logits = lifted.logits(origin, batch_size=len(x))  # the lifted model knows its samples by their row
        check_labels(y, logits.shape[1])
        broken = logits.argmax(1) != y
        found = x.clone()
        for restart in range(restarts):
            start = random_in_ball(x, cube.p, 1.0, draws) if restart else None
            run = ascend(lifted, origin, y, cube, steps=steps, loss="scaled", start=start)
            hit = run.found & ~broken
            found[hit] = (x + eps * run.wrong).clamp(low, high)[hit]
            broken |= run.found
    moved = torch.where(eps > 0, (found - x).abs() / eps.clamp_min(1e-30), torch.zeros_like(x)).flatten(1).amax(1)
    wrong = logits.argmax(1) != y
    return Attacked(found, broken, torch.where(broken & ~wrong, moved, torch.where(wrong, 0.0, torch.inf)))
