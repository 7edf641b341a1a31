"""Learning rules: callables (model, x, y) -> scalar, one file each."""

from holomorph.calculus.ascent import Ascent
from holomorph.rules.awp import AWP
from holomorph.rules.base import Cost, Rule
from holomorph.rules.cauchy_riemann import CauchyRiemann
from holomorph.rules.certified import Certified
from holomorph.rules.combinators import Growing, Sum
from holomorph.rules.dirichlet import Dirichlet
from holomorph.rules.finite import FiniteEnergy
from holomorph.rules.free import FreeAT
from holomorph.rules.gradalign import GradAlign
from holomorph.rules.hardy import Hardy
from holomorph.rules.harmonic import Harmonic
from holomorph.rules.holomorphic import Holomorphic, MaximumMargin
from holomorph.rules.jacobian import JacobianPenalty
from holomorph.rules.nfgsm import NFGSM
from holomorph.rules.noise import GaussianNoise
from holomorph.rules.pgd import PGD
from holomorph.rules.plain import Plain
from holomorph.rules.prior_guided import PriorGuided
from holomorph.rules.qub import QUB
from holomorph.rules.registry import DEFAULT, RULES, as_rule, build_rule, parse
from holomorph.rules.stable_embedding import StableEmbedding
from holomorph.rules.trades import TRADES
from holomorph.rules.weakly_harmonic import WeaklyHarmonic

__all__ = [
    "AWP", "DEFAULT", "NFGSM", "PGD", "QUB", "RULES", "TRADES", "Ascent", "CauchyRiemann", "Certified",
    "Cost", "Dirichlet", "FiniteEnergy", "FreeAT", "GaussianNoise", "GradAlign", "Growing", "Hardy", "Harmonic",
    "Holomorphic", "JacobianPenalty", "MaximumMargin", "Plain", "PriorGuided", "Rule", "StableEmbedding", "Sum",
    "WeaklyHarmonic", "as_rule", "build_rule", "parse",
]  # fmt: skip
