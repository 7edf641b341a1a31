"""Classifiers whose radii are known without enclosures: one adapter a kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from holomorph.exact.classifier import ExactClassifier
from holomorph.threats import ThreatModel

#: From the classifier, samples and a threat to a radius for each answer, whatever the label.
Adapter = Callable[[Any, Tensor, ThreatModel], Tensor]


def _holomorphic(model: ExactClassifier, x: Tensor, threat: ThreatModel) -> Tensor:
    """The certificate of polynomials and of functions in the Fock space."""
    return model.certified_radius(x, p=threat.p)


EXACT: dict[type, Adapter] = {ExactClassifier: _holomorphic}


def adapter_for(model: object) -> Adapter | None:
    """The adapter of a classifier, or None."""
    return next((adapter for kind, adapter in EXACT.items() if isinstance(model, kind)), None)
