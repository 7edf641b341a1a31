"""Robust accuracy as a score of scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from holomorph.contract.threats import ThreatLike, as_threat
from holomorph.errors import ModelError
from holomorph.evaluation.attack import attack
from holomorph.threats import ThreatModel


class RobustScorer:
    """The accuracy that is left under an attack: for ``GridSearchCV`` and ``cross_val_score``.

    A sample counts if it is predicted correctly and the attack finds nothing in the threat that is not; an attack
    that fails proves nothing, so the score is an upper bound of the robust accuracy.

    Parameters
    ----------
    threat:
        Object or text, in the units of the features, with a box around all samples; None takes the threat that a
        :class:`~holomorph.sklearn.RobustClassifier` was trained for, in its own units.
    attack:
        By name; see :func:`holomorph.attack`.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn.model_selection import cross_val_score
    >>> from holomorph.sklearn import RobustClassifier
    >>> X, y = make_moons(60, noise=0.1, random_state=0)
    >>> scores = cross_val_score(RobustClassifier(epochs=5, random_state=0), X, y, scoring=RobustScorer(), cv=2)
    >>> bool((scores <= 1).all())
    True
    """

    def __init__(self, threat: ThreatLike | None = None, *, attack: str = "pgd-margin") -> None:
        self.threat = threat
        self.attack = attack

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Score a fitted estimator, or a pipeline whose last step is one of ours.

        Raises
        ------
        ModelError
            Without a threat, for an estimator that was trained for none.
        """
        last = estimator
        if self.threat is None and hasattr(estimator, "steps"):  # a pipeline: the threat is in the units of its end
            last, X = estimator[-1], estimator[:-1].transform(X)
        given = self.threat if self.threat is not None else getattr(last, "threat_", None)
        if given is None:
            raise ModelError(f"{type(last).__name__} was trained for no threat. Give one: RobustScorer('inf:0.1').")
        threat = as_threat(given)
        features = getattr(last, "features_", None) if self.threat is None else None
        X = np.asarray(X, dtype=np.float64)
        if features is not None:  # samples held out may lie outside the range of the training samples
            least, most = (torch.from_numpy(bound) for bound in (X.min(0), X.max(0)))
            features = replace(features, low=features.low.minimum(least), high=features.high.maximum(most))
        elif self.threat is None:
            low, high = threat.box
            threat = ThreatModel(threat.norm, threat.eps, (min(low, float(X.min())), max(high, float(X.max()))))
        found = attack(last, X, y, threat=threat, name=self.attack, features=features)
        return float((~found.broken).cpu().double().mean())

    def __repr__(self) -> str:
        """Name the threat and the attack."""
        return f"RobustScorer({self.threat!r}, attack={self.attack!r})"
