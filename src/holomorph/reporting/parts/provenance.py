"""What it takes to do it again: commands, seed, settings, versions."""

from collections.abc import Sequence
from typing import Any

from holomorph.records.base import Record
from holomorph.records.evaluation import EvaluationRecord
from holomorph.records.training import TrainRecord
from holomorph.reporting.parts.base import Context, one
from holomorph.reporting.words import counted, duration, setting


def provenance_part(records: Sequence[Record]) -> Context:
    """Collect commands, settings and versions from whatever records there are."""
    run, found = one(records, TrainRecord), one(records, EvaluationRecord)
    both = [record for record in (run, found) if record is not None]
    if not both:
        return None
    return {
        "commands": list(dict.fromkeys(record.command for record in both if record.command)),
        "settings": (_of_run(run) if run else []) + (_of_evaluation(found) if found else []),
        "rule_settings": {name: setting(value) for name, value in run.rule_settings.items()} if run else {},
        "versions": {name: version for record in both for name, version in record.versions.items()},
    }


def _of_run(run: TrainRecord) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [
        ("model", f"{run.model}, {counted(run.parameters, 'parameter')}"),
        ("data", f"{run.data}, {counted(run.samples, 'training sample')}"),
        ("rule", run.rule),
        ("training", f"{counted(run.epochs, 'epoch')}, batches of {run.batch_size}"),
        ("optimiser", f"{run.optimizer}, {run.schedule}, learning rate {run.lr:g}, weight decay {run.weight_decay:g}"),
        ("seed of training", run.seed),
        ("device", f"{run.device}, {counted(run.processes, 'process')}"),
        ("started", run.started.replace("T", " ").replace("+00:00", " UTC")),
    ]
    if run.ema is not None:
        rows.append(("averaged weights", f"decay {run.ema:g}"))
    return [(name, value) for name, value in rows if value != ""]


def _of_evaluation(found: EvaluationRecord) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [
        ("evaluated", f"{counted(found.samples, 'sample')}, {counted(found.classes, 'class')}"),
        ("seed of evaluation", found.seed),
        ("evaluation took", duration(found.seconds)),
    ]
    return rows
