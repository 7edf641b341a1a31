"""The first screen: what was found, in one sentence and one small table."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from holomorph.records.base import Interval, Record
from holomorph.records.certificate import CertificateRecord
from holomorph.records.evaluation import QUICK_LOOK, EvaluationRecord
from holomorph.records.training import TrainRecord
from holomorph.reporting.certified import matching_certificate, verdict_sentence
from holomorph.reporting.one_line import one_line
from holomorph.reporting.parts.base import Context, one
from holomorph.reporting.words import counted, duration, percent_range, percentage, threat_name, times

_Row = tuple[str, str, str, str]


def summary_part(records: Sequence[Record]) -> Context:
    """Fill the headline, the table of both models and the notes that limit what the values mean."""
    run, found = one(records, TrainRecord), one(records, EvaluationRecord)
    if run is None and found is None:
        return None
    return {
        "headline": _headline(found, matching_certificate(records)) if found else _trained(run),
        "rows": (_accuracies(found) if found else []) + _costs(run, found),
        "has_baseline": bool((found and found.baseline) or (run and run.baseline)),
        "failed": found.failed if found else (),
        "notes": _notes(found) if found else [],
        "verdicts": Counter(check.verdict for check in found.checks) if found else {},
        "line": one_line(records),
    }


def _headline(found: EvaluationRecord, proved: CertificateRecord | None) -> str:
    sentence = verdict_sentence(found, proved)
    if found.baseline is not None:
        sentence += f" The undefended baseline, attacked in the same way, keeps {percentage(found.baseline.robust)}."
        if found.differences:  # those against the baseline come first, and of these the last is that of all threats
            gap = [d for d in found.differences if d.against == found.differences[0].against][-1].interval
            value, low, high = (f"{100 * v:.1f}" for v in (gap.value, gap.low, gap.high))
            sentence += f" The difference is {value} points ({low} to {high}, paired by sample)."
    return sentence


def _trained(run: TrainRecord | None) -> str:
    return (
        "" if run is None else f"Trained by the rule {run.rule} for {counted(run.epochs, 'epoch')}; not yet attacked."
    )


def _accuracies(found: EvaluationRecord) -> list[_Row]:
    baseline = found.baseline
    rows = [_row("clean accuracy", found.clean_interval, baseline.clean_interval if baseline else None)]
    for position, result in enumerate(found.threats):
        other = baseline.threats[position].interval if baseline and position < len(baseline.threats) else None
        rows.append(_row(f"robust accuracy, {threat_name(result.threat)}", result.interval, other))
    if len(found.threats) > 1:
        rows.append(
            _row("robust against all of these", found.robust_interval, baseline.robust_interval if baseline else None)
        )
    return rows


def _row(name: str, interval: Interval, other: Interval | None) -> _Row:
    left = (percentage(interval.value), percent_range(interval))
    return (name, *left, "" if other is None else percentage(other.value))


def _costs(run: TrainRecord | None, found: EvaluationRecord | None) -> list[_Row]:
    if run is None:
        cost = found.training_cost if found else None
        return [] if cost is None else [("training cost", times(cost), "of plain training", "1×")]
    # Passes first: both trainings' wall times hang on what else the machine did at the time.
    clock = f"; {times(run.measured_cost)} by wall time" if run.measured_cost else ""
    note = f"of plain training, by passes a sample{clock}"
    rows: list[_Row] = [("training cost", times(run.cost), note, "1×" if run.baseline else "")]
    rows.append(("training time", duration(run.seconds), "", duration(run.baseline.seconds) if run.baseline else ""))
    return rows


def _notes(found: EvaluationRecord) -> list[Any]:
    notes = []
    lower = f"{QUICK_LOOK} Expect lower accuracies from that." if found.robust > 0 else QUICK_LOOK
    if found.quick:
        notes.append(lower)
    if found.upper_bound and found.upper_bound_reason != QUICK_LOOK:
        notes.append(f"The robust accuracy is only an upper bound. {found.upper_bound_reason}".strip())
    if found.unchecked:
        notes.append(
            "The evaluation's checks of itself were switched off: nothing speaks for the strength of its attacks."
        )
    return notes
