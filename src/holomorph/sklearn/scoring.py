"""Robust accuracy as a score of scikit-learn."""

from typing import Any

from holomorph.contract.threats import ThreatLike
from holomorph.evaluation.attack import attack


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
        ConfigError
            Without a threat, for an estimator that was trained for none.
        """
        found = attack(estimator, X, y, threat=self.threat or (), name=self.attack)
        return float((~found.broken).cpu().double().mean())

    def __repr__(self) -> str:
        """Name the threat and the attack."""
        return f"RobustScorer({self.threat!r}, attack={self.attack!r})"
