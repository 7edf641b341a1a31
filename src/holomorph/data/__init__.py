"""Data sets by name, in checked splits."""

from holomorph.data.sources import SOURCES, load
from holomorph.data.splits import Splits, check_labels

__all__ = ["SOURCES", "Splits", "check_labels", "load"]
