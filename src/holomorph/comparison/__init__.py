"""Rules against each other under an equal budget: choosing a rule becomes a measurement."""

from holomorph.comparison.plots import frontiers
from holomorph.comparison.runs import compare
from holomorph.comparison.table import comparison_table

__all__ = ["compare", "comparison_table", "frontiers"]
