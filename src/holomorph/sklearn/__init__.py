"""Estimators for scikit-learn: holomorphic hypotheses by exact solvers, and robustly trained networks."""

from holomorph.sklearn.holomorphic import HolomorphicClassifier

__all__ = ["HolomorphicClassifier"]
