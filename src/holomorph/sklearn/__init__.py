"""Estimators for scikit-learn: holomorphic hypotheses by exact solvers, and robustly trained networks."""

from holomorph.sklearn.holomorphic import HolomorphicClassifier
from holomorph.sklearn.robust import RobustClassifier
from holomorph.sklearn.scoring import RobustScorer

__all__ = ["HolomorphicClassifier", "RobustClassifier", "RobustScorer"]
