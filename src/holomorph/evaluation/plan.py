"""Which attacks are run under a threat, in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from holomorph.attacks.autoattack import AutoAttackStage, randomised, standard
from holomorph.attacks.base import Attack
from holomorph.attacks.foolbox import FoolboxAttack, minimal_norm
from holomorph.attacks.numerical import Bisected, NumericalPgd, Transferred
from holomorph.attacks.pgd import Pgd
from holomorph.contract.classifier import Classifier
from holomorph.evaluation.inspection import Inspection
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import FeatureThreat

#: How much is run: an upper bound in under a minute, what a claim rests on, or everything there is.
Effort = Literal["quick", "full", "thorough"]

#: Gradients that a quick evaluation takes at most, attacks, baseline and checks together; an output is 0.4 of one.
#: A small CNN (0.45 ms a gradient) needs 45 s of one core for them.
QUICK_GRADIENTS = 100_000

#: Of these, what one sample needs under one threat.
_QUICK_SAMPLE = 850


def quick_samples(threats: int) -> int:
    """How many samples a quick evaluation can afford.

    >>> quick_samples(threats=1)
    117
    """
    return max(8, QUICK_GRADIENTS // (_QUICK_SAMPLE * threats))


def plan(
    threat: ThreatModel,
    inspection: Inspection,
    *,
    effort: Effort = "full",
    baseline: Classifier | None = None,
    samples: int = 0,
) -> list[Attack]:
    """Choose the attacks.

    AutoAttack comes first and undisturbed, so that its numbers are those of its own script; it goes from cheap to
    dear by itself. Then the minimal-norm attacks, which run on every sample because the accuracy-eps curve is
    drawn from them; then ours, on what is left, cheapest first. A model without gradients gets the black-box
    attacks and the numerical gradient only, a randomised one AutoAttack's randomised version. ``samples`` limits
    what a quick evaluation spends on numerical gradients.
    """
    transfer: list[Attack] = [Transferred(threat, baseline)] if baseline is not None else []
    if isinstance(threat, FeatureThreat):
        return _for_features(threat, inspection, effort, transfer)
    if not inspection.differentiable:
        return [*_without_gradients(threat, inspection, effort, samples), *transfer]
    if effort == "quick":
        return _quick(threat, inspection, samples)
    chain: list[Attack] = list((randomised if inspection.randomised else standard)(threat, inspection.classes))
    if inspection.classes < 4:  # the targeted ratio loss is undefined: our margin loss in its place
        chain.insert(1, Pgd(threat, "margin", steps=100, restarts=2))
    ours: list[Attack] = [Pgd(threat, "scaled", steps=60), Pgd(threat, "margin", steps=60, far=True)]
    if threat.norm == "2":
        ours.append(FoolboxAttack("cw", threat, steps=100))
    every = inspection.masked or effort == "thorough"
    numerical = NumericalPgd(threat, steps=20, limit=None) if every else NumericalPgd(threat)
    further = _thorough(threat) if effort == "thorough" else []
    return [*chain, *minimal_norm(threat), Bisected(threat), *transfer, *ours, numerical, *further]


def _quick(threat: ThreatModel, inspection: Inspection, samples: int) -> list[Attack]:
    steps = 15 if threat.norm == "1" else 50  # in l_1 the package starts five times
    cheap: list[Attack] = [
        AutoAttackStage("apgd-ce", threat, inspection.classes, steps=steps),
        Pgd(threat, "scaled", steps=50),
    ]
    nearest = [replace(attack, steps=25) for attack in minimal_norm(threat)] if threat.norm == "2" else [
        *minimal_norm(threat, steps=50)]  # fmt: skip
    return [*cheap, *nearest, Bisected(threat, steps=30), NumericalPgd(threat, limit=max(4, samples // 8))]


def _for_features(threat: ThreatModel, inspection: Inspection, effort: Effort, transfer: list[Attack]) -> list[Attack]:
    """Ours alone: the packages know one eps and one box for all coordinates, and no frozen ones."""
    numerical = NumericalPgd(threat, steps=20, limit=None)
    if not inspection.differentiable:
        return [numerical, *transfer]
    if effort == "quick":
        quick = [Pgd(threat, loss, steps=50) for loss in ("cross-entropy", "scaled")]
        return [*quick, Bisected(threat, steps=30), replace(numerical, steps=10, limit=16)]
    starts = 10 if effort == "thorough" else 3
    ours = [Pgd(threat, "cross-entropy", steps=100), Pgd(threat, "margin", steps=100, restarts=starts)]
    further = [Pgd(threat, "scaled", steps=100), Pgd(threat, "margin", steps=60, far=True)]
    return [*ours, Bisected(threat), *transfer, *further, numerical]


def _thorough(threat: ThreatModel) -> list[Attack]:
    """Many starts, and the boundary attack: it reads predictions only and looks in l_2 whatever the threat's norm."""
    return [
        Pgd(threat, "margin", steps=100, restarts=10, label="pgd-restarts"),
        FoolboxAttack("boundary", threat, steps=5000),
    ]


def _without_gradients(threat: ThreatModel, inspection: Inspection, effort: Effort, samples: int) -> list[Attack]:
    quick = effort == "quick"
    square = AutoAttackStage("square", threat, inspection.classes, queries=500 if quick else 5000)
    limit = max(4, samples // 3) if quick else None
    found: list[Attack] = [NumericalPgd(threat, steps=20, limit=limit), square]
    if threat.norm == "2" or effort == "thorough":
        found.append(FoolboxAttack("boundary", threat, steps=200 if quick else 2000))
    return found
