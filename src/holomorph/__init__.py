"""Classifiers that withstand adversarial examples, by complex and harmonic analysis, with the reasons why.

Everything public is imported when it is first used, so that ``import holomorph`` costs little beyond torch. Type
checkers read the same table from ``__init__.pyi``.
"""

import importlib
from typing import Any

_PACKAGES = [
    "attacks", "calculus", "certification", "comparison", "contract", "data", "enclosures", "errors", "evaluation",
    "exact", "explanation", "integrations", "nn", "records", "reporting", "research", "rules", "sklearn", "threats",
    "training", "transferability",
]  # fmt: skip
_RULES = [
    "AWP", "Ascent", "Certified", "CauchyRiemann", "Dirichlet", "FiniteEnergy", "FreeAT", "GaussianNoise",
    "GradAlign", "Growing", "Hardy", "Harmonic", "Holomorphic", "JacobianPenalty", "MaximumMargin", "NFGSM",
    "PGD", "QUB", "Plain", "PriorGuided", "StableEmbedding", "Sum", "TRADES", "WeaklyHarmonic",
]  # fmt: skip

#: Where every public name lives; a package is its own home.
PUBLIC = {
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
    "ThreatModel": "holomorph.threats",
    **dict.fromkeys(_RULES, "holomorph.rules"),
    **{name: f"holomorph.{name}" for name in _PACKAGES},
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
