"""Inputs, the perturbations found, and what both models predict."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from holomorph.records.base import Record
from holomorph.records.evaluation import EvaluationRecord, Example
from holomorph.reporting.images import image, perturbation
from holomorph.reporting.parts.base import Context, one
from holomorph.reporting.words import norm_name, size
from holomorph.threats import ThreatModel

#: More than this do not tell more.
LIMIT = 12


class Card(NamedTuple):
    """One example: pictures where the input is an image, and the predictions by the names of their classes."""

    example: Example
    inside: bool
    label: str
    predictions: tuple[str, str]
    baseline_predictions: tuple[str, str] | None
    input: str | None
    change: str | None
    adversarial: str | None
    size: str


def gallery_part(records: Sequence[Record]) -> Context:
    """Draw the examples of the model and, if it was attacked too, of its baseline."""
    found = one(records, EvaluationRecord)
    if found is None:
        return None
    threats = {str(result.threat): result.threat for result in found.threats}
    cards = _cards(found, found, threats)
    baseline_cards = _cards(found.baseline, found, threats) if found.baseline else []
    if not cards and not baseline_cards:
        return None
    inside = [card for card in cards if card.inside]
    beyond = [card for card in cards if not card.inside]
    groups = [("Inside the threat: attacks that succeeded", inside), ("Beyond the threat: what it would take", beyond)]
    return {
        "groups": [(title, rows) for title, rows in groups if rows],
        "baseline_cards": baseline_cards,
        "images": any(card.input for card in (*cards, *baseline_cards)),
    }


def _cards(found: EvaluationRecord, named: EvaluationRecord, threats: dict[str, ThreatModel]) -> list[Card]:
    """Successful attacks first, at most ``LIMIT`` cards; ``named`` knows the names of the classes."""
    shown = [example for example in found.gallery if example.threat in threats and example.input]
    cards = [_card(example, threats[example.threat], named) for example in shown]
    return sorted(cards, key=lambda card: not card.inside)[:LIMIT]


def _card(example: Example, threat: ThreatModel, named: EvaluationRecord) -> Card:
    low, high = threat.box
    change = np.asarray(example.adversarial, dtype=np.float64) - np.asarray(example.input, dtype=np.float64)
    before, after = example.baseline_prediction, example.baseline_prediction_adversarial
    other = None if before is None or after is None else (named.class_name(before), named.class_name(after))
    inside = example.distance <= threat.radius * (1 + 1e-5)
    allowed = "" if inside else f", the threat allows {size(threat.radius, threat)}"
    return Card(
        example,
        inside,
        named.class_name(example.label),
        (named.class_name(example.prediction), named.class_name(example.prediction_adversarial)),
        other,
        image(example.input, example.shape, low, high),
        perturbation(change, example.shape),
        image(example.adversarial, example.shape, low, high),
        f"{norm_name(threat.norm)} size {size(example.distance, threat)}{allowed}",
    )
