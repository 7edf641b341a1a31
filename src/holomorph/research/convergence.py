r"""Pointwise against uniform convergence: do independently trained models agree on samples, and around them?

For two models s, t from independent seeds, with probabilities p_s, p_t,

$$\text{pointwise} = E\,\tfrac12|p_s - p_t|_1(x), \qquad
\text{uniform} = E \sup_{\|\delta\| \le \varepsilon} \tfrac12|p_s - p_t|_1(x + \delta)$$

on fresh samples. Adversarial examples are present where the first shrinks with more training samples and the second
does not. Comparing checkpoints of one training proves nothing: both gaps vanish by construction.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holomorph._utils.progress import bar
from holomorph._utils.seeding import generator
from holomorph._utils.statistics import Array, bootstrap
from holomorph.calculus.ascent import Around, climb
from holomorph.calculus.norms import per_sample, random_in_ball
from holomorph.contract import Differentiable, check_batch
from holomorph.contract.snapshot import under_attack
from holomorph.errors import DataError
from holomorph.records.base import Interval
from holomorph.records.explanation import Gap
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into

#: Trains a model on so many samples from a seed.
Trainer = Callable[[int, int], nn.Module]


def convergence(
    train: Trainer,
    sizes: Sequence[int],
    fresh: tuple[Tensor, Tensor],
    seen: tuple[Tensor, Tensor],
    *,
    threat: ThreatModel,
    rule_name: str = "",
    seeds: Sequence[int] = (0, 1),
    steps: int = 10,
    seed: int = 0,
) -> list[Gap]:
    """Train at growing sizes from independent seeds and return the gaps at each size.

    Parameters
    ----------
    train:
        ``train(size, seed)`` returns a model trained on ``size`` samples; seeds should choose samples too.
    sizes:
        Numbers of training samples, growing.
    fresh, seen:
        Samples and labels that no model was trained on, and ones that all were.
    threat:
        The supremum's ball.
    rule_name:
        For the record.
    steps:
        Of each ascent: the supremum found is a lower bound of the true one.

    Raises
    ------
    DataError
        For fewer than two seeds.

    Source: docs/mathematics.md, section 8; Barati et al. 2021 for the claim, the measurement is ours.
    """
    if len(seeds) < 2:
        raise DataError("Convergence compares models from independent seeds. Give at least two seeds.")
    found = []
    with bar("convergence", total=len(sizes)) as progress:
        for size in sizes:
            models = [train(size, s) for s in seeds]
            found.append(
                gap(models, fresh, seen, threat=threat, rule_name=rule_name, size=size, steps=steps, seed=seed)
            )
            progress.advance()
    return found


def gap(
    models: Sequence[nn.Module],
    fresh: tuple[Tensor, Tensor],
    seen: tuple[Tensor, Tensor],
    *,
    threat: ThreatModel,
    rule_name: str = "",
    size: int = 0,
    steps: int = 10,
    seed: int = 0,
) -> Gap:
    """Return the gaps between models (means over their pairs) and their generalisation gaps (means over models).

    Examples
    --------
    >>> x, y = torch.rand(20, 2), torch.arange(20) % 2
    >>> one = nn.Linear(2, 2)
    >>> same = gap([one, one], (x, y), (x, y), threat=ThreatModel("inf", 0.1))
    >>> same.pointwise.value, same.uniform.value, same.robust_generalisation
    (0.0, 0.0, 0.0)
    """
    for part in (fresh, seen):
        check_batch(*part, box=threat.box)
    modes = [model.training for model in models]
    x = fresh[0]
    at, around = [], []
    for f, g in itertools.combinations(models, 2):
        with under_attack(f), under_attack(g):
            at.append(_numbers(_distance(f, g, x)))
            worst = _ascend(lambda z, f=f, g=g: _distance(f, g, z), x, threat, steps, seed)  # type: ignore[misc]
            around.append(_numbers(_distance(f, g, worst)))
    drops = np.array([[_accuracies(model, part, threat, steps, seed) for part in (seen, fresh)] for model in models])
    falls = (drops[:, 0] - drops[:, 1]).mean(0)
    for model, mode in zip(models, modes, strict=True):
        model.train(mode)
    return Gap(
        rule=rule_name,
        size=size,
        pointwise=_mean(np.mean(at, 0), seed),
        uniform=_mean(np.mean(around, 0), seed),
        generalisation=float(falls[0]),
        robust_generalisation=float(falls[1]),
    )


def _distance(f: Differentiable, g: Differentiable, x: Tensor) -> Tensor:
    return (f(x).softmax(1) - g(x).softmax(1)).abs().sum(1) / 2


def _accuracies(
    model: nn.Module, part: tuple[Tensor, Tensor], threat: ThreatModel, steps: int, seed: int
) -> tuple[float, float]:
    """Accuracy on the samples, and on the ends of an ascent of the loss from them."""
    x, y = part
    with under_attack(model):
        worst = _ascend(lambda z: cross_entropy(model(z), y, reduction="none"), x, threat, steps, seed)
        with torch.no_grad():
            right = model(x).argmax(1) == y
            still = right & (model(worst).argmax(1) == y)
    return float(right.float().mean()), float(still.float().mean())


def _ascend(objective: Callable[[Tensor], Tensor], x: Tensor, threat: ThreatModel, steps: int, seed: int) -> Tensor:
    """The best point seen of each sample along projected steepest ascent from a random start; x itself counts."""
    drawn = random_in_ball(x, threat.p, threat.radius, generator(seed, "ascent"))
    found = climb(objective, into(x, x + drawn, threat), Around(x, threat), [2.5 * threat.radius / steps] * steps)
    with torch.no_grad():
        return torch.where(per_sample(found.top > objective(x), x), found.best, x)


def _numbers(t: Tensor) -> Array:
    return np.asarray(t.detach().cpu().double().numpy())


def _mean(values: Array, seed: int) -> Interval:
    return bootstrap(lambda v: float(v.mean()), values, seed=seed)
