"""Learning rules: callables (model, x, y) -> scalar, one file each."""

from holomorph.rules.base import Cost, Rule
from holomorph.rules.dirichlet import Dirichlet
from holomorph.rules.finite import FiniteEnergy
from holomorph.rules.nfgsm import NFGSM
from holomorph.rules.pgd import PGD
from holomorph.rules.plain import Plain
from holomorph.rules.registry import RULES, build, parse
from holomorph.rules.trades import TRADES

__all__ = ["NFGSM", "PGD", "RULES", "TRADES", "Cost", "Dirichlet", "FiniteEnergy", "Plain", "Rule", "build", "parse"]
