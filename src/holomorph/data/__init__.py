"""Data sets by name, in checked splits."""

from holomorph.data.sources import SOURCES, load
from holomorph.data.splits import Splits

__all__ = ["SOURCES", "Splits", "load"]
