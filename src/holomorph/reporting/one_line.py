"""What was found, in one line to paste into a model card."""

from collections.abc import Sequence

from holomorph.records.base import Interval, Record
from holomorph.records.evaluation import EvaluationRecord
from holomorph.records.training import TrainRecord
from holomorph.reporting.certified import matching_certificate, under
from holomorph.reporting.parts.base import one
from holomorph.reporting.words import counted, model_name, percent_range, percentage


def one_line(records: Sequence[Record]) -> str:
    """Return model, data, accuracies with their intervals and threats, and whether the checks agree; or nothing.

    The text keeps to ASCII spaces and signs, so that it survives any editor.
    """
    run, found = one(records, TrainRecord), one(records, EvaluationRecord)
    if found is None:
        return ""
    name = f"{model_name(run.model)} trained by {run.rule}" if run is not None else found.model
    parts = [f"clean {_accuracy(found.clean_interval)}"]
    proved = matching_certificate(records)
    for result in found.threats:
        part = under(proved, result)
        below = "" if part is None else f", {percentage(part.proved)} proved"
        parts.append(f"robust {_accuracy(result.interval)}{below} at {result.threat}")
    if len(found.threats) > 1:
        parts.append(f"robust {_accuracy(found.robust_interval)} at all of them")
    data = f" on {found.data}" if found.data else ""
    bound = "a quick look" if found.quick else "every attack's worst case"
    line = f"{name}{data}: {', '.join(parts)} ({bound}, {counted(found.samples, 'sample')}{_verdict(found)})."
    return line.replace("\u202f", " ")


def _accuracy(interval: Interval) -> str:
    return f"{percentage(interval.value)} [{percent_range(interval)}]"


def _verdict(found: EvaluationRecord) -> str:
    if not found.checks:
        return ""
    failed = len(found.failed)
    return f", {counted(failed, 'check')} failed" if failed else ", no check failed"
