"""Networks: real classifiers, and holomorphic building blocks."""

from holomorph.nn.classifiers.parts import Normalise

__all__ = ["Normalise"]
