"""What ``holomorph evaluate`` says in the end."""

from holomorph._utils.interval import percent
from holomorph._utils.words import counted
from holomorph.records.evaluation import EvaluationRecord
from holomorph.reporting.certified import verdict_sentence


def points(difference: float) -> str:
    """A difference of two accuracies in points, with its sign.

    >>> points(-0.0425)
    '-4.2'
    """
    return f"{100 * difference:+.1f}"


def evaluation_lines(record: EvaluationRecord, total: int, asked: int) -> list[str]:
    """What was found, in a few lines."""
    short = asked > total and not record.quick
    lines = [f"There are {total} test samples, not {asked}: all of them were used."] if short else []
    if record.certificate is not None:
        lines.append(verdict_sentence(record, record.certificate).replace("\u202f", " "))
    lines.append(f"Clean accuracy {percent(record.clean)} on {counted(record.samples, 'sample')}.")
    for result in record.threats:
        low, high = percent(result.interval.low), percent(result.interval.high)
        lines.append(f"Robust accuracy at {result.threat}: {percent(result.robust)} ({low} to {high}).")
        if not record.quick and (alone := record.autoattack(result)) is not None:
            lines.append(f"AutoAttack alone leaves {percent(alone)}, all attacks together {percent(result.robust)}.")
    if len(record.threats) > 1:
        lines.append(f"Robust accuracy under all of them at once: {percent(record.robust)}.")
    if record.baseline is not None:
        lines.append(
            f"Undefended baseline: {percent(record.baseline.robust)} robust, {percent(record.baseline.clean)} clean."
        )
    for gap in record.differences:
        quantity, v = gap.quantity if gap.quantity == "clean" else f"robust at {gap.quantity}", gap.interval
        rest = f"{points(v.value)} points ({points(v.low)} to {points(v.high)})."
        lines.append(f"Difference to {gap.against}, {quantity}: {rest}")
    if record.stopped:
        lines.append(record.stopped)
    if record.upper_bound:
        lines.append(f"This is an upper bound. {record.upper_bound_reason}")
    for check in record.checks:
        if check.verdict in ("warn", "fail"):
            lines.append(f"Check {check.number}, {check.name}: {check.verdict.upper()}. {check.reason}")
    passed = sum(check.verdict == "pass" for check in record.checks)
    lines.append(f"{passed} of {len(record.checks)} checks passed.")
    return lines
