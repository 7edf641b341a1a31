"""Input-gradient norms and Dirichlet energies of both models."""

from collections.abc import Sequence

from holomorph.records.base import Interval, Record
from holomorph.records.diagnostics import DiagnosticsRecord, Energy, Gradients
from holomorph.reporting.parts.base import Context, one
from holomorph.reporting.plots import ROLES, energy_intervals, gradient_histogram
from holomorph.reporting.words import times

_PLACES = {"samples": "at the samples", "ball": "around them"}
_DUALS = {"inf": "1", "2": "2", "1": r"\infty"}


def gradients_part(records: Sequence[Record]) -> Context:
    """Draw the energies and the histogram, and say how the model differs from its baseline around the samples."""
    found = one(records, DiagnosticsRecord)
    if found is None:
        return None
    both = {ROLES[0]: found.model}
    if found.baseline is not None:
        both[ROLES[1]] = found.baseline
    pictures = [
        energy_intervals({role: [_row(energy) for energy in g.energies] for role, g in both.items()}),
        gradient_histogram({role: g.norms for role, g in both.items()}, _DUALS[found.threat.norm]),
    ]
    return {"pictures": pictures, "sentence": _sentence(found), "samples": found.samples}


def _row(energy: Energy) -> tuple[str, Interval]:
    return f"{energy.observable}, {_PLACES[energy.place]}", energy.interval


def _sentence(found: DiagnosticsRecord) -> str:
    """Compare the energies around the samples, not the gradients at them: those vanish where a network is sure."""
    if found.baseline is None:
        return ""
    own, other = (_around(g) for g in (found.model, found.baseline))
    if own is None or other is None or min(own.value, other.value) <= 0:
        return ""
    near, far, word = (own, other, "less") if own.value < other.value else (other, own, "more")
    clear = near.high < far.low
    change = f"{times((far.value / near.value) ** 0.5)} {word}" if clear else "about as much"
    return (
        f"Around the samples, within the threat, the predicted probabilities of this model change {change} with the "
        f"input {'than' if clear else 'as'} the undefended baseline's."
    )


def _around(gradients: Gradients) -> Interval | None:
    """The energy of the probabilities in the threat's balls."""
    found = [e.interval for e in gradients.energies if (e.observable, e.place) == ("probabilities", "ball")]
    return found[0] if found else None
