"""Estimators for scikit-learn: holomorphic hypotheses by exact solvers, and robustly trained networks."""

from holomorph.sklearn.holomorphic import HolomorphicClassifier
from holomorph.sklearn.robust import RobustClassifier
from holomorph.sklearn.scoring import RobustScorer

#: Every classifier; what is listed here meets the contract in tests/sklearn.
CLASSIFIERS = (HolomorphicClassifier, RobustClassifier)

__all__ = ["CLASSIFIERS", "HolomorphicClassifier", "RobustClassifier", "RobustScorer"]
