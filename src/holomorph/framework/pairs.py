"""Every source against every target: the examples made once, tried and predicted on each, batch by batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holomorph.evaluation.subject import Subject
from holomorph.framework.effects import Effect, Table, measured, predicted
from holomorph.framework.proposals import gradient_step, makers
from holomorph.framework.scores import Arrays
from holomorph.progress import bar
from holomorph.seeding import generator
from holomorph.types import ThreatModel

#: The arrays of each (method, eps); the methods are the attacks' names, "order 1", "order 2" and "shuffled".
Tables = dict[tuple[str, float], Arrays]


def tables(
    models: Mapping[str, nn.Module],
    x: Tensor,
    y: Tensor,
    threats: Sequence[ThreatModel],
    *,
    steps: int,
    batch_size: int,
    seed: int,
) -> Tables:
    """Measure and predict the effects of every source on every target under every threat.

    Assumes models in evaluation mode that agree on inputs and classes.
    """
    found: dict[tuple[str, float], Table] = defaultdict(Table)
    batches = [(x[i : i + batch_size], y[i : i + batch_size]) for i in range(0, len(x), batch_size)]
    subjects = [Subject(model) for model in models.values()]
    with bar("transfer", total=len(models) * len(threats) * len(batches)) as progress:
        for s, name in enumerate(models):
            for threat in threats:
                progress.describe(f"examples made on {name} at eps {threat.radius:g}")
                for xs, ys in batches:
                    for t, method, effect in _effects(subjects, s, xs, ys, threat, steps, seed):
                        found[method, threat.radius].add(s, t, effect)
                    progress.advance()
    return {key: Arrays(*table.arrays()) for key, table in found.items()}


def _effects(
    subjects: Sequence[Subject], s: int, x: Tensor, y: Tensor, threat: ThreatModel, steps: int, seed: int
) -> Iterator[tuple[int, str, Effect]]:
    classes = subjects[s].logits(x[:1]).shape[1]
    made = {name: maker(subjects[s], x, y, seed) for name, maker in makers(threat, classes, steps).items()}
    step = gradient_step(subjects[s], x, y, threat)
    others = torch.randperm(len(x), generator=generator(seed, "shuffled pairing"))
    for t, target in enumerate(subjects):
        for name, perturbed in made.items():
            yield t, name, measured(target, x, perturbed, y)
        for order, effect in predicted(target, x, step, y).items():
            yield t, f"order {order}", effect
        yield t, "shuffled", _inner_product(target, x, step[others], y)


def _inner_product(target: Subject, x: Tensor, step: Tensor, y: Tensor) -> Effect:
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(cross_entropy(target(leaf), y, reduction="sum"), leaf)
    gain = (gradient * step).flatten(1).sum(1)
    return Effect(gain, torch.zeros(len(x), dtype=torch.bool, device=x.device))
