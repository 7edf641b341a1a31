"""Learning rules: callables (model, x, y) -> scalar, one file each."""

from holomorph.rules.base import Cost, Rule
from holomorph.rules.dirichlet import Dirichlet
from holomorph.rules.plain import Plain
from holomorph.rules.registry import RULES, build, parse

__all__ = ["RULES", "Cost", "Dirichlet", "Plain", "Rule", "build", "parse"]
