"""Inputs, the perturbations found, and what both models answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from holomorph.records.evaluation import EvaluationRecord, Example
from holomorph.report.images import image, perturbation
from holomorph.report.parts.base import Context, one
from holomorph.types import Record

#: More than this do not tell more.
LIMIT = 12


class Card(NamedTuple):
    """One example: pictures where the input is an image, and the answers."""

    example: Example
    input: str | None
    change: str | None
    adversarial: str | None


def build(records: Sequence[Record]) -> Context:
    """Draw the examples of the model and, if it was attacked too, of its twin."""
    found = one(records, EvaluationRecord)
    if found is None:
        return None
    boxes = {str(result.threat): result.threat.box for result in found.threats}
    cards = _cards(found, boxes)
    twin_cards = _cards(found.twin, boxes) if found.twin else []
    if not cards and not twin_cards:
        return None
    return {"cards": cards, "twin_cards": twin_cards}


def _cards(found: EvaluationRecord, boxes: dict[str, tuple[float, float]]) -> list[Card]:
    return [_card(example, *boxes.get(example.threat, (0.0, 1.0))) for example in found.gallery[:LIMIT]]


def _card(example: Example, low: float, high: float) -> Card:
    change = np.asarray(example.adversarial, dtype=np.float64) - np.asarray(example.input, dtype=np.float64)
    return Card(
        example,
        image(example.input, example.shape, low, high),
        perturbation(change, example.shape),
        image(example.adversarial, example.shape, low, high),
    )
