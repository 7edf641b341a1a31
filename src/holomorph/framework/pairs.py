"""Every source against every target: the examples made once, tried and predicted on each, source by source."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from holomorph.evaluation.foolbox import FoolboxAttack
from holomorph.evaluation.subject import Subject
from holomorph.framework.effects import Effect, measured, predicted
from holomorph.framework.proposals import StrongestAPGD, gradient_step, stretched
from holomorph.framework.scores import Arrays
from holomorph.progress import bar
from holomorph.seeding import generator
from holomorph.types import ThreatModel, write_atomically

#: The arrays of each (method, eps); the methods are "apgd", "fmn", "order 1", "order 2" and "shuffled".
Tables = dict[tuple[str, float], Arrays]


def tables(
    subjects: Sequence[Subject],
    x: Tensor,
    y: Tensor,
    threats: Sequence[ThreatModel],
    *,
    steps: int,
    batch_size: int,
    seed: int,
    keep: Path | None = None,
    fingerprint: str = "",
) -> Tables:
    """Measure and predict the effects of every source on every target under every threat.

    Assumes models in evaluation mode that agree on inputs and classes. Each source's tables are kept in the folder
    ``keep`` and taken from there if the fingerprint is the same.
    """
    starts = range(0, len(x), batch_size)
    found: list[Tables] = []
    with bar("transfer", total=len(subjects) * len(starts)) as progress:
        for s in range(len(subjects)):
            progress.describe(f"examples made on model {s + 1} of {len(subjects)}")
            path = None if keep is None else keep / f"source-{s}.npz"
            known = None if path is None else _load(path, fingerprint)
            if known is None:
                known = _of_source(subjects, s, x, y, threats, steps, batch_size, seed, progress.advance)
                if path is not None:
                    _save(path, fingerprint, known)
            else:
                progress.advance(len(starts))
            found.append(known)
    return {
        key: Arrays(np.stack([t[key].increase for t in found], 1), np.stack([t[key].wrong for t in found], 1))
        for key in found[0]
    }


def _of_source(
    subjects: Sequence[Subject],
    s: int,
    x: Tensor,
    y: Tensor,
    threats: Sequence[ThreatModel],
    steps: int,
    batch_size: int,
    seed: int,
    advance: Callable[[], None],
) -> Tables:
    """The arrays of one source, (samples, targets)."""
    parts: dict[tuple[str, float], list[list[Effect]]] = defaultdict(list)
    for i in range(0, len(x), batch_size):
        xs, ys = x[i : i + batch_size], y[i : i + batch_size]
        for method, radius, effects in _effects(subjects, s, xs, ys, threats, steps, seed):
            parts[method, radius].append(effects)
        advance()
    return {
        key: Arrays(
            torch.cat([torch.stack([e.increase for e in row], 1) for row in rows]).double().cpu().numpy(),
            torch.cat([torch.stack([e.wrong for e in row], 1) for row in rows]).cpu().numpy(),
        )
        for key, rows in parts.items()
    }


def _effects(
    subjects: Sequence[Subject],
    s: int,
    x: Tensor,
    y: Tensor,
    threats: Sequence[ThreatModel],
    steps: int,
    seed: int,
) -> Iterator[tuple[str, float, list[Effect]]]:
    """One batch: method, eps, the effect on each target."""
    source, classes = subjects[s], subjects[s].logits(x[:1]).shape[1]
    nearest = FoolboxAttack("fmn", threats[0], steps=steps)(source, x, y, seed)
    others = torch.randperm(len(x), generator=generator(seed, "shuffled pairing"))
    losses, gradients = zip(*(_slope(target, x, y) for target in subjects), strict=True)
    for threat in threats:
        made = {
            "apgd": StrongestAPGD("apgd-ce", threat, classes, steps=steps)(source, x, y, seed),
            "fmn": stretched(x, nearest, threat),
        }
        for name, perturbed in made.items():
            effects = [measured(t, x, perturbed, y, loss) for t, loss in zip(subjects, losses, strict=True)]
            yield name, threat.radius, effects
        step = gradient_step(source, x, y, threat)
        foretold = [predicted(target, x, step, y) for target in subjects]
        for order in (1, 2):
            yield f"order {order}", threat.radius, [effect[order] for effect in foretold]
        gains = [(g * step[others]).flatten(1).sum(1) for g in gradients]
        yield "shuffled", threat.radius, [Effect(gain, torch.zeros_like(y, dtype=torch.bool)) for gain in gains]


def _slope(target: Subject, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of each sample and its gradient."""
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        loss = cross_entropy(target(leaf), y, reduction="none")
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    return loss.detach(), gradient


def _save(path: Path, fingerprint: str, found: Tables) -> None:
    arrays = {f"{method}|{eps!r}|{k}": a for (method, eps), pair in found.items() for k, a in enumerate(pair)}
    stream = io.BytesIO()
    np.savez_compressed(stream, fingerprint=np.array(fingerprint), **arrays)  # type: ignore[arg-type]
    write_atomically(path, stream.getvalue())


def _load(path: Path, fingerprint: str) -> Tables | None:
    """What was kept, unless it belongs to another measurement."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as kept:
        if str(kept["fingerprint"]) != fingerprint:
            return None
        keys = [tuple(name.split("|")[:2]) for name in kept.files if name.endswith("|0")]
        return {
            (method, float(eps)): Arrays(kept[f"{method}|{eps}|0"], kept[f"{method}|{eps}|1"]) for method, eps in keys
        }
