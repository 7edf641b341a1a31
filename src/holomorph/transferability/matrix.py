"""Every source against every target: the examples made once, tried and predicted on each, source by source."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from holomorph._utils.cache import Cache
from holomorph._utils.progress import bar
from holomorph._utils.seeding import generator
from holomorph.attacks.foolbox import FoolboxAttack
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel
from holomorph.transferability.effects import Effect, measured, predicted
from holomorph.transferability.examples import StrongestAPGD, gradient_step, stretched
from holomorph.transferability.metrics import Arrays

#: The arrays of each (method, eps). The methods are "apgd" and "fmn"; predicted from the source's gradient "order 1",
#: "order 2" and "shuffled"; predicted from the step that FMN took "own 1" and "own 2".
Tables = dict[tuple[str, float], Arrays]


@dataclass(frozen=True)
class _Run:
    """What every source is measured with."""

    classifiers: Sequence[Classifier]
    x: Tensor
    y: Tensor
    threats: Sequence[ThreatModel]
    steps: int
    batch_size: int
    seed: int

    @property
    def starts(self) -> range:
        return range(0, len(self.x), self.batch_size)


def tables(
    classifiers: Sequence[Classifier],
    x: Tensor,
    y: Tensor,
    threats: Sequence[ThreatModel],
    *,
    steps: int,
    batch_size: int,
    seed: int,
    cache: Cache | None = None,
) -> Tables:
    """Measure and predict the effects of every source on every target under every threat.

    Assumes models in evaluation mode that agree on inputs and classes. Each source's tables are kept in the cache.
    """
    run, kept = _Run(classifiers, x, y, threats, steps, batch_size, seed), cache or Cache()
    found: list[Tables] = []
    with bar("transfer", total=len(classifiers) * len(run.starts)) as progress:
        for s in range(len(classifiers)):
            progress.describe(f"examples made on model {s + 1} of {len(classifiers)}")
            known = kept.get(f"source-{s}")
            if known is None:
                known = _packed(_of_source(run, s, progress.advance))
                kept.put(f"source-{s}", **known)
            else:
                progress.advance(len(run.starts))
            found.append(_unpacked(known))
    return {
        key: Arrays(np.stack([t[key].increase for t in found], 1), np.stack([t[key].wrong for t in found], 1))
        for key in found[0]
    }


def _of_source(run: _Run, s: int, advance: Callable[[], None]) -> Tables:
    """The arrays of one source, (samples, targets)."""
    parts: dict[tuple[str, float], list[list[Effect]]] = defaultdict(list)
    for i in run.starts:
        part = slice(i, i + run.batch_size)
        for method, radius, effects in _effects(run, s, run.x[part], run.y[part]):
            parts[method, radius].append(effects)
        advance()
    return {
        key: Arrays(
            torch.cat([torch.stack([e.increase for e in row], 1) for row in rows]).cpu().double().numpy(),
            torch.cat([torch.stack([e.wrong for e in row], 1) for row in rows]).cpu().numpy(),
        )
        for key, rows in parts.items()
    }


def _effects(run: _Run, s: int, x: Tensor, y: Tensor) -> Iterator[tuple[str, float, list[Effect]]]:
    """One batch: method, eps, the effect on each target."""
    source, classes = run.classifiers[s], run.classifiers[s].logits(x[:1]).shape[1]
    nearest = FoolboxAttack("fmn", run.threats[0], steps=run.steps)(source, x, y, run.seed)
    others = torch.randperm(len(x), generator=generator(run.seed, "shuffled pairing"))
    losses, gradients = zip(*(_slope(target, x, y) for target in run.classifiers), strict=True)
    for threat in run.threats:
        made = {
            "apgd": StrongestAPGD("apgd-ce", threat, classes, steps=run.steps)(source, x, y, run.seed),
            "fmn": stretched(x, nearest, threat),
        }
        for name, perturbed in made.items():
            effects = [measured(t, x, perturbed, y, loss) for t, loss in zip(run.classifiers, losses, strict=True)]
            yield name, threat.radius, effects
        steps = {"order": gradient_step(source, x, y, threat), "own": made["fmn"] - x}
        for name, step in steps.items():
            from_gradients = [predicted(target, x, step, y) for target in run.classifiers]
            for order in (1, 2):
                yield f"{name} {order}", threat.radius, [effect[order] for effect in from_gradients]
        gains = [(g * steps["order"][others]).flatten(1).sum(1) for g in gradients]
        yield "shuffled", threat.radius, [Effect(gain, torch.zeros_like(y, dtype=torch.bool)) for gain in gains]


def _slope(target: Classifier, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of each sample and its gradient."""
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        loss = cross_entropy(target(leaf), y, reduction="none")
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    return loss.detach(), gradient


def _packed(found: Tables) -> dict[str, NDArray[Any]]:
    return {f"{method}|{eps!r}|{k}": a for (method, eps), pair in found.items() for k, a in enumerate(pair)}


def _unpacked(kept: dict[str, NDArray[Any]]) -> Tables:
    keys = [tuple(name.split("|")[:2]) for name in kept if name.endswith("|0")]
    return {(method, float(eps)): Arrays(kept[f"{method}|{eps}|0"], kept[f"{method}|{eps}|1"]) for method, eps in keys}
