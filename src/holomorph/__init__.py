"""Classifiers that withstand adversarial examples, by complex and harmonic analysis, with the reasons why.

The public names are imported when they are first used, so that ``import holomorph`` costs little beyond torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holomorph import calculus, data, errors, exact, explanation, nn, rules, sklearn
    from holomorph.certification import certify
    from holomorph.comparison import compare
    from holomorph.evaluation.attack import attack
    from holomorph.evaluation.audit import audit
    from holomorph.evaluation.evaluate import evaluate
    from holomorph.explanation.explain import explain
    from holomorph.reporting.render import report
    from holomorph.rules import (
        AWP,
        CURE,
        LLR,
        NFGSM,
        PGD,
        TRADES,
        Certified,
        Dirichlet,
        FiniteEnergy,
        FreeAT,
        GaussianNoise,
        GradAlign,
        Growing,
        Hardy,
        Harmonic,
        Holomorphic,
        JacobianPenalty,
        Plain,
        Sum,
        WeaklyHarmonic,
    )
    from holomorph.threats import ThreatModel
    from holomorph.training.fit import fit
    from holomorph.transferability.transfer import transfer

#: Where each public name lives.
_HOMES = {
    "ThreatModel": "holomorph.threats",
    "attack": "holomorph.evaluation.attack",
    "audit": "holomorph.evaluation.audit",
    "certify": "holomorph.certification",
    "compare": "holomorph.comparison",
    "evaluate": "holomorph.evaluation.evaluate",
    "AWP": "holomorph.rules",
    "CURE": "holomorph.rules",
    "Certified": "holomorph.rules",
    "Dirichlet": "holomorph.rules",
    "FiniteEnergy": "holomorph.rules",
    "FreeAT": "holomorph.rules",
    "GaussianNoise": "holomorph.rules",
    "GradAlign": "holomorph.rules",
    "Growing": "holomorph.rules",
    "Hardy": "holomorph.rules",
    "Holomorphic": "holomorph.rules",
    "Harmonic": "holomorph.rules",
    "JacobianPenalty": "holomorph.rules",
    "LLR": "holomorph.rules",
    "NFGSM": "holomorph.rules",
    "PGD": "holomorph.rules",
    "Plain": "holomorph.rules",
    "Sum": "holomorph.rules",
    "TRADES": "holomorph.rules",
    "WeaklyHarmonic": "holomorph.rules",
    "explain": "holomorph.explanation.explain",
    "transfer": "holomorph.transferability.transfer",
    "fit": "holomorph.training.fit",
    "report": "holomorph.reporting.render",
}
_PACKAGES = ("calculus", "data", "errors", "exact", "explanation", "nn", "rules", "sklearn")

__all__ = [
    "AWP",
    "CURE",
    "LLR",
    "NFGSM",
    "PGD",
    "TRADES",
    "Certified",
    "Dirichlet",
    "FiniteEnergy",
    "FreeAT",
    "GaussianNoise",
    "GradAlign",
    "Growing",
    "Hardy",
    "Harmonic",
    "Holomorphic",
    "JacobianPenalty",
    "Plain",
    "Sum",
    "ThreatModel",
    "WeaklyHarmonic",
    "attack",
    "audit",
    "calculus",
    "certify",
    "compare",
    "data",
    "errors",
    "evaluate",
    "exact",
    "explain",
    "explanation",
    "fit",
    "nn",
    "report",
    "rules",
    "sklearn",
    "transfer",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
