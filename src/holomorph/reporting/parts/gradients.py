"""Input-gradient norms and Dirichlet energies of both models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holomorph.records.base import Interval, Record
from holomorph.records.diagnostics import DiagnosticsRecord, Energy, Gradients
from holomorph.reporting.parts.base import Context, one
from holomorph.reporting.plots import ROLES, energies, gradient_histogram
from holomorph.reporting.words import times

_PLACES = {"samples": "samples", "ball": "balls"}
_DUALS = {"inf": "1", "2": "2", "1": r"\infty"}


def build(records: Sequence[Record]) -> Context:
    """Draw the histogram and the energies, and say by how much the median gradient shrank."""
    found = one(records, DiagnosticsRecord)
    if found is None:
        return None
    both = {ROLES[0]: found.model}
    if found.baseline is not None:
        both[ROLES[1]] = found.baseline
    pictures = [
        gradient_histogram({role: g.norms for role, g in both.items()}, _DUALS[found.threat.norm]),
        energies({role: [_row(energy) for energy in g.energies] for role, g in both.items()}),
    ]
    return {
        "pictures": pictures,
        "ratio": _ratio(found.model, found.baseline),
        "has_baseline": found.baseline is not None,
        "samples": found.samples,
    }


def _row(energy: Energy) -> tuple[str, Interval]:
    return f"{energy.observable}, {_PLACES[energy.place]}", energy.interval


def _ratio(model: Gradients, baseline: Gradients | None) -> str | None:
    """How many times smaller the median gradient is than the baseline's, where that is so."""
    if baseline is None:
        return None
    own, other = float(np.median(model.norms)), float(np.median(baseline.norms))
    return times(other / own) if 0 < own < other else None
