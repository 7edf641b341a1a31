"""Classifiers that withstand adversarial examples, by complex and harmonic analysis, with the reasons why.

Everything public is imported when it is first used, so that ``import holomorph`` costs little beyond torch. Type
checkers read the same table from ``__init__.pyi``.
"""

import importlib
from typing import Any

#: Where every public name lives; a package is its own home.
PUBLIC = {
    # what one does
    "attack": "holomorph.evaluation.attack",
    "audit": "holomorph.evaluation.audit",
    "certify": "holomorph.certification",
    "compare": "holomorph.comparison.runs",
    "evaluate": "holomorph.evaluation.evaluate",
    "explain": "holomorph.explanation.explain",
    "fit": "holomorph.training.fit",
    "load": "holomorph.training.load",
    "read": "holomorph.records.reading",
    "report": "holomorph.reporting.render",
    "transfer": "holomorph.transferability.transfer",
    # against what
    "ThreatModel": "holomorph.threats",
    # by which rule
    "AWP": "holomorph.rules",
    "Ascent": "holomorph.rules",
    "CURE": "holomorph.rules",
    "Certified": "holomorph.rules",
    "CauchyRiemann": "holomorph.rules",
    "Dirichlet": "holomorph.rules",
    "FiniteEnergy": "holomorph.rules",
    "FreeAT": "holomorph.rules",
    "GaussianNoise": "holomorph.rules",
    "GradAlign": "holomorph.rules",
    "Growing": "holomorph.rules",
    "Hardy": "holomorph.rules",
    "Harmonic": "holomorph.rules",
    "Holomorphic": "holomorph.rules",
    "JacobianPenalty": "holomorph.rules",
    "LLR": "holomorph.rules",
    "MaximumMargin": "holomorph.rules",
    "NFGSM": "holomorph.rules",
    "PGD": "holomorph.rules",
    "QUB": "holomorph.rules",
    "Plain": "holomorph.rules",
    "PriorGuided": "holomorph.rules",
    "StableEmbedding": "holomorph.rules",
    "Sum": "holomorph.rules",
    "TRADES": "holomorph.rules",
    "WeaklyHarmonic": "holomorph.rules",
    # the packages
    "attacks": "holomorph.attacks",
    "calculus": "holomorph.calculus",
    "certification": "holomorph.certification",
    "comparison": "holomorph.comparison",
    "contract": "holomorph.contract",
    "data": "holomorph.data",
    "enclosures": "holomorph.enclosures",
    "errors": "holomorph.errors",
    "evaluation": "holomorph.evaluation",
    "exact": "holomorph.exact",
    "explanation": "holomorph.explanation",
    "integrations": "holomorph.integrations",
    "nn": "holomorph.nn",
    "records": "holomorph.records",
    "reporting": "holomorph.reporting",
    "research": "holomorph.research",
    "rules": "holomorph.rules",
    "sklearn": "holomorph.sklearn",
    "threats": "holomorph.threats",
    "training": "holomorph.training",
    "transferability": "holomorph.transferability",
}

__all__ = ["__version__", *PUBLIC]  # every entry is a text


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("holomorph")
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(PUBLIC[name])
    return home if PUBLIC[name] == f"{__name__}.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
