"""Records in, one offline HTML page out."""

from holomorph.report.render import render, report

__all__ = ["render", "report"]
