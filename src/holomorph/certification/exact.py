"""Classifiers whose radii are known without enclosures: one adapter a kind."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from holomorph.exact.classifier import ExactClassifier
from holomorph.threats import ThreatModel
from holomorph.threats.features import Features

#: From the classifier, samples and a threat to a radius for each answer, whatever the label.
Adapter = Callable[[Any, Tensor, ThreatModel], Tensor]


def _holomorphic(model: ExactClassifier, x: Tensor, threat: ThreatModel) -> Tensor:
    """The certificate of polynomials and of functions in the Fock space."""
    return model.certified_radius(x, p=threat.p)


def adapter_for(model: object, features: Features | None = None) -> Adapter | None:
    """The adapter of a classifier, or None; trees alone know an eps for each feature."""
    if isinstance(model, ExactClassifier):
        return _holomorphic if features is None else None
    if not isinstance(model, nn.Module) and hasattr(model, "estimator"):
        from sklearn.tree import DecisionTreeClassifier  # slow to import, and an estimator brings it

        from holomorph.certification.trees import tree_radius

        if isinstance(model.estimator, DecisionTreeClassifier):
            return lambda black_box, x, threat: tree_radius(black_box.estimator, x, threat, features)
    return None
