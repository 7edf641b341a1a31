"""Which attacks are run under a threat, in which order."""

from __future__ import annotations

from holomorph.evaluation.adaptive import Bisected, NumericalPgd, Transferred
from holomorph.evaluation.autoattack import AutoAttackStage, randomised, standard
from holomorph.evaluation.base import Attack
from holomorph.evaluation.foolbox import FoolboxAttack, minimal_norm
from holomorph.evaluation.pgd import Pgd
from holomorph.evaluation.subject import Subject
from holomorph.evaluation.traits import Traits
from holomorph.types import ThreatModel


def plan(threat: ThreatModel, traits: Traits, *, quick: bool = False, twin: Subject | None = None) -> list[Attack]:
    """Choose the attacks.

    AutoAttack comes first and undisturbed, so that its numbers are those of its own script; it goes from cheap to
    dear by itself. Then the minimal-norm attacks, which run on every sample because the accuracy-eps curve is
    drawn from them; then ours, on what is left, cheapest first. A model without gradients gets the black-box
    attacks and the numerical gradient only, a randomised one AutoAttack's randomised version.
    """
    transfer: list[Attack] = [Transferred(threat, twin)] if twin is not None else []
    if not traits.differentiable:
        return [*_without_gradients(threat, traits, quick=quick), *transfer]
    if quick:
        cheap: list[Attack] = [
            AutoAttackStage("apgd-ce", threat, traits.classes, steps=50),
            Pgd(threat, "scaled", steps=50),
        ]
        return [*cheap, *minimal_norm(threat, steps=50), Bisected(threat, steps=30), NumericalPgd(threat, limit=32)]
    chain: list[Attack] = list((randomised if traits.randomised else standard)(threat, traits.classes))
    if traits.classes < 4:  # the targeted ratio loss is undefined: our margin loss in its place
        chain.insert(1, Pgd(threat, "margin", steps=100, restarts=2))
    ours: list[Attack] = [Pgd(threat, "scaled", steps=60), Pgd(threat, "margin", steps=60, far=True)]
    if threat.norm == "2":
        ours.append(FoolboxAttack("cw", threat, steps=100))
    numerical = NumericalPgd(threat, steps=20, limit=None) if traits.masked else NumericalPgd(threat)
    return [*chain, *minimal_norm(threat), Bisected(threat), *transfer, *ours, numerical]


def _without_gradients(threat: ThreatModel, traits: Traits, *, quick: bool) -> list[Attack]:
    square = AutoAttackStage("square", threat, traits.classes, queries=500 if quick else 5000)
    found: list[Attack] = [NumericalPgd(threat, steps=20, limit=64 if quick else None), square]
    if threat.norm == "2":
        found.append(FoolboxAttack("boundary", threat, steps=200 if quick else 2000))
    return found
