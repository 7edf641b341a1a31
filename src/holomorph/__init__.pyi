"""The table of ``__init__.py`` for type checkers."""

# ruff: noqa: I001, RUF022

from holomorph import (
    attacks, calculus, certification, comparison, contract, data, enclosures, errors, evaluation, exact,
    explanation, integrations, nn, records, reporting, research, rules, sklearn, threats, training, transferability,
)  # fmt: skip
from holomorph.certification import certify
from holomorph.comparison.runs import compare
from holomorph.evaluation.attack import attack
from holomorph.evaluation.audit import audit
from holomorph.evaluation.evaluate import evaluate
from holomorph.explanation.explain import explain
from holomorph.records.reading import read
from holomorph.reporting.render import report
from holomorph.rules import (
    AWP, NFGSM, PGD, QUB, TRADES, Ascent, CauchyRiemann, Certified, Dirichlet, FiniteEnergy, FreeAT,
    GaussianNoise, GradAlign, Growing, Hardy, Harmonic, Holomorphic, JacobianPenalty, MaximumMargin, Plain,
    PriorGuided, StableEmbedding, Sum, WeaklyHarmonic,
)  # fmt: skip
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from holomorph.training.load import load
from holomorph.transferability.transfer import transfer

__version__: str

__all__ = [
    "__version__", "AWP", "NFGSM", "PGD", "QUB", "TRADES", "Ascent", "CauchyRiemann", "Certified",
    "Dirichlet", "FiniteEnergy", "FreeAT", "GaussianNoise", "GradAlign", "Growing", "Hardy", "Harmonic",
    "Holomorphic", "JacobianPenalty", "MaximumMargin", "Plain", "PriorGuided", "StableEmbedding", "Sum",
    "ThreatModel", "WeaklyHarmonic", "attack", "attacks", "audit", "calculus", "certification", "certify",
    "compare", "comparison", "contract", "data", "enclosures", "errors", "evaluate", "evaluation", "exact",
    "explain", "explanation", "fit", "integrations", "load", "nn", "read", "records", "report", "reporting",
    "research", "rules", "sklearn", "threats", "training", "transfer", "transferability",
]  # fmt: skip
