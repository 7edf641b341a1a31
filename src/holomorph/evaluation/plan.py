"""How much an evaluation may cost, and what its attacks are chosen for."""

from __future__ import annotations

from holomorph.attacks.base import Effort, Situation
from holomorph.contract.classifier import Classifier
from holomorph.evaluation.inspection import Inspection
from holomorph.threats import ThreatModel

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


def situation(
    threat: ThreatModel,
    inspection: Inspection,
    *,
    effort: Effort = "full",
    source: Classifier | None = None,
    samples: int = 0,
) -> Situation:
    """What the attacks under one threat are chosen for, from what was seen of the model."""
    return Situation(
        threat,
        inspection.classes,
        gradients=inspection.differentiable,
        randomised=inspection.randomised,
        masked=inspection.masked,
        effort=effort,
        source=source,
        samples=samples,
    )
