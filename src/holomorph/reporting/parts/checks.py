"""The evaluator's checks of itself: a table of verdicts."""

from collections import Counter
from collections.abc import Sequence

from holomorph.records.base import Record
from holomorph.records.evaluation import EvaluationRecord, Verdict
from holomorph.reporting.parts.base import Context, one

_ORDER: tuple[Verdict, ...] = ("fail", "warn", "pass", "not run")


def checks_part(records: Sequence[Record]) -> Context:
    """List the checks, the ones that need reading first."""
    found = one(records, EvaluationRecord)
    if found is None or not found.checks:
        return None
    ordered = sorted(found.checks, key=lambda check: (_ORDER.index(check.verdict), check.number))
    counts = Counter(check.verdict for check in found.checks)
    return {
        "checks": ordered,
        "counts": [(verdict, counts[verdict]) for verdict in _ORDER if counts[verdict]],
        "idle": counts["not run"] > 0,
    }
