"""Inputs, the perturbations found, and what both models predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from holomorph.records.base import Record
from holomorph.records.evaluation import EvaluationRecord, Example
from holomorph.reporting.images import image, perturbation
from holomorph.reporting.parts.base import Context, one
from holomorph.reporting.words import norm_name
from holomorph.threats import ThreatModel

#: More than this do not tell more.
LIMIT = 12


class Card(NamedTuple):
    """One example: pictures where the input is an image, and the predictions."""

    example: Example
    input: str | None
    change: str | None
    adversarial: str | None
    size: str


def build(records: Sequence[Record]) -> Context:
    """Draw the examples of the model and, if it was attacked too, of its baseline."""
    found = one(records, EvaluationRecord)
    if found is None:
        return None
    threats = {str(result.threat): result.threat for result in found.threats}
    cards = _cards(found, threats)
    baseline_cards = _cards(found.baseline, threats) if found.baseline else []
    if not cards and not baseline_cards:
        return None
    return {"cards": cards, "baseline_cards": baseline_cards}


def _cards(found: EvaluationRecord, threats: dict[str, ThreatModel]) -> list[Card]:
    return [_card(example, threats[example.threat]) for example in found.gallery[:LIMIT] if example.threat in threats]


def _card(example: Example, threat: ThreatModel) -> Card:
    low, high = threat.box
    change = np.asarray(example.adversarial, dtype=np.float64) - np.asarray(example.input, dtype=np.float64)
    return Card(
        example,
        image(example.input, example.shape, low, high),
        perturbation(change, example.shape),
        image(example.adversarial, example.shape, low, high),
        f"{norm_name(threat.norm)} size {example.distance:.3g}, the threat allows {threat.eps}",
    )
