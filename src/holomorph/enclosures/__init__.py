"""Enclosures: sets that hold a network's values and derivatives for every input of a ball, rounding included."""

from holomorph.enclosures.program import Program
from holomorph.enclosures.region import Region

__all__ = ["Program", "Region"]
