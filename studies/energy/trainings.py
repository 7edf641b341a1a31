"""The trainings of the frontier: those that were kept, for the test split, and trials, for the validation split.

Budgets are equal in passes, and every rule has the same settings of the optimiser.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from holomorph.rules import NFGSM, PGD, FiniteEnergy, Growing, Rule
from holomorph.threats import ThreatModel
from studies.common import Row

INF, L2, L1 = ThreatModel("inf", 0.1), ThreatModel(2, 1.5), ThreatModel(1, 12.0)

#: Peak of the learning rate, samples a step and precision: the best for each rule of what was tried (candidates.py).
SHARED: dict[str, Any] = {"lr": 4e-3, "batch": 64, "precision": "bf16-mixed", "flatten_last": True}

#: Epochs of N-FGSM and of the finite energy that need the same passes (5 and 6 a sample), or ours fewer.
BUDGETS = {"short": (4, 3), "middle": (6, 5), "long": (12, 10)}


def finite(**settings: Any) -> FiniteEnergy:
    """At the whole radius from the start."""
    return FiniteEnergy(INF, ramp=0.0, **settings)


def row(rule: Callable[[], Rule], epochs: int = 6, seed: int = 0, **other: Any) -> Row:
    """One training at the shared settings, but for the given ones."""
    return Row(rule, epochs, seed, **SHARED | other)


def budgets() -> Iterator[tuple[str, Row]]:
    """Equal training time, three seeds; ten steps of PGD at equal epochs."""
    for (theirs, ours), seed in itertools.product(BUDGETS.values(), range(3)):
        yield f"N-FGSM k=1, {theirs} epochs, seed {seed}", row(lambda: NFGSM(INF, noise=1.0), theirs, seed)
        yield f"finite, {ours} epochs, seed {seed}", row(finite, ours, seed)
    for seed in range(3):
        yield f"N-FGSM k=2, 6 epochs, seed {seed}", row(lambda: NFGSM(INF), 6, seed)
        yield f"finite, 6 epochs, seed {seed}", row(finite, 6, seed)
        longer = row(lambda: finite(segments=3, late=0.6), 6, seed)  # a third of PGD-10's passes
        yield f"finite, longer path, 6 epochs, seed {seed}", longer
        deeper = row(lambda: finite(segments=5, late=1.0, followed=1 / 3), 6, seed)  # as much
        yield f"finite, five segments for a third, 6 epochs, seed {seed}", deeper
        yield f"finite, all of the noise kept, 6 epochs, seed {seed}", row(lambda: finite(kept=1.0), 6, seed)
        yield f"finite, defaults, 5 epochs, seed {seed}", row(lambda: FiniteEnergy(INF), 5, seed)
        yield f"PGD-10, 6 epochs, seed {seed}", row(lambda: PGD(INF), 6, seed)


def large() -> Iterator[tuple[str, Row]]:
    """Radii at which training with one step collapses; for the rivals it grows over half of training."""
    at_2, at_3 = ThreatModel("inf", 0.2), ThreatModel("inf", 0.3)
    for threat, seed in itertools.product((at_2, at_3), range(10)):
        eps = f"eps {threat.radius:g}"
        yield f"finite, {eps}, 3 epochs, seed {seed}", row(lambda t=threat: FiniteEnergy(t), 3, seed)
        shorter = row(lambda t=threat: FiniteEnergy(t, segments=2, late=0.5), 3, seed)
        yield f"finite, two segments, {eps}, 3 epochs, seed {seed}", shorter
        theirs = row(lambda t=threat: Growing(NFGSM(t, noise=1.0)), 3, seed)
        yield f"N-FGSM k=1, growing, {eps}, 3 epochs, seed {seed}", theirs
    at_equal_passes = row(lambda: Growing(NFGSM(at_2, noise=1.0)), 5)
    yield "N-FGSM k=1, growing, eps 0.2, 5 epochs, seed 0", at_equal_passes
    for epochs in (3, 6):
        longer = row(lambda: Growing(FiniteEnergy(at_3, segments=5, late=1.0, ramp=0.0)), epochs)
        yield f"finite, growing, five segments, eps 0.3, {epochs} epochs, seed 0", longer
    yield "PGD-10, growing, eps 0.3, 3 epochs, seed 0", row(lambda: Growing(PGD(at_3)), 3)


def other_norms() -> Iterator[tuple[str, Row]]:
    """The rules given another threat and nothing else; for PGD the radius grows, without which it converges badly."""
    for name, threat, epochs in (("l_2", L2, 3), ("l_2", L2, 6), ("l_1", L1, 3)):
        yield f"N-FGSM k=1, {name}, {epochs} epochs, seed 0", row(lambda t=threat: NFGSM(t, noise=1.0), epochs)
        for ours in {epochs, epochs + epochs // 6}:  # at most a third of PGD's passes
            yield f"finite, {name}, {ours} epochs, seed 0", row(lambda t=threat: FiniteEnergy(t), ours)
    for seed in range(3):
        for name, threat, epochs in (("l_2", L2, 3), ("l_2", L2, 6), ("l_1", L1, 3)):
            yield f"PGD-10, {name}, {epochs} epochs, seed {seed}", row(lambda t=threat: Growing(PGD(t)), epochs, seed)
        longer = row(lambda: FiniteEnergy(L2, segments=3, late=0.66, ramp=0.0), 6, seed)  # a third of PGD-10's passes
        yield f"finite, longer path, l_2, 6 epochs, seed {seed}", longer


FINALISTS: dict[str, Row] = {
    **dict(budgets()),
    **dict(large()),
    "finite, weight 0, 5 epochs, seed 0": row(lambda: finite(weight=0.0), 5),
    "finite, five segments, 6 epochs, seed 0": row(lambda: finite(segments=5, late=1.0)),
    "finite, one segment, 6 epochs, seed 0": row(lambda: finite(segments=1)),
    **dict(other_norms()),
}


def trials() -> Iterator[tuple[str, Row]]:
    """What was tried of late; older trials are in candidates.json."""
    faster = 8e-3
    yield "N-FGSM k=1, rate 0.008, 6 epochs, seed 0", row(lambda: NFGSM(INF, noise=1.0), lr=faster)
    yield "finite, rate 0.008, 5 epochs, seed 0", row(finite, 5, lr=faster)
    yield "PGD-10, rate 0.008, 6 epochs, seed 0", row(lambda: PGD(INF), lr=faster)
    yield "PGD-2, 6 epochs, seed 0", row(lambda: PGD(INF, steps=2))


#: The finalists are among them: they are compared on the validation split first.
TRIALS = {**FINALISTS, **dict(trials())}
