"""From what the attacks found to the record."""

from __future__ import annotations

import io
import math
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holomorph._utils.io import write_atomically
from holomorph._utils.versions import versions
from holomorph.evaluation.checks import ALL, Evidence
from holomorph.evaluation.checks import run_checks as look
from holomorph.evaluation.curves import accuracy_curve
from holomorph.evaluation.intervals import wilson
from holomorph.evaluation.outcome import Evaluated
from holomorph.evaluation.paired import versus
from holomorph.evaluation.plan import quick_samples
from holomorph.evaluation.results import Ledger
from holomorph.evaluation.runner import digest
from holomorph.records.evaluation import Check, ClassResult, EvaluationRecord, Example, ThreatResult
from holomorph.threats.constraints import FeatureThreat
from holomorph.threats.features import Features

#: Pictures kept for the report.
GALLERY = 8


@dataclass(frozen=True)
class Facts:
    """What the caller says of the model, for the record."""

    name: str
    data: str
    training_cost: float | None
    source: dict[str, str]
    features: Features | None = None
    dtype: torch.dtype | None = None

    def raw(self, x: Tensor) -> Tensor:
        """Inputs in the units that the user knows."""
        return x if self.features is None else self.features.decode(x)


def to_record(
    found: Evaluated, baseline: Evaluated | None, facts: Facts, *, run_checks: bool, keep: Path | None, started: float
) -> EvaluationRecord:
    """Build the record, with the baseline's inside it, and run the checks."""
    checks: tuple[Check, ...] = ()
    if run_checks:  # before the account is closed: what a check breaks on the way counts
        probe = max(8, quick_samples(len(found.ledgers)) // 5) if found.quick else 64
        evidence = Evidence(found, baseline, facts.training_cost, size=probe)
        checks = look(ALL, evidence)
        found.share()
    record = _bare(found, facts)
    other = None
    if baseline is not None:
        other = _bare(
            baseline, Facts(f"undefended baseline of {facts.name}", facts.data, 1.0, {}, facts.features, facts.dtype)
        )
    if keep is not None and found.runner.first:
        save_adversarial(found, facts, keep)
    return record.model_copy(
        update={
            "baseline": other,
            "differences": versus(record, other, "the undefended baseline") if other is not None else (),
            "checks": checks,
            "gallery": _gallery(found, baseline, facts),
            "adversarial_file": keep.name if keep else None,
            "seconds": time.perf_counter() - started,
        }
    )


def _bare(found: Evaluated, facts: Facts) -> EvaluationRecord:
    total = len(found.y)
    right = int((found.answers == found.y).sum())
    robust = int(found.robust.sum())
    reason = _bound_reason(found)
    return EvaluationRecord(
        model=facts.name,
        model_source=facts.source,
        data=facts.data,
        samples_hash=digest(facts.raw(found.x).to(facts.dtype), found.y),
        samples=total,
        classes=found.traits.classes,
        seed=found.runner.seed,
        quick=found.quick,
        thorough=found.effort == "thorough",
        upper_bound=bool(reason),
        upper_bound_reason=reason,
        clean=right / total,
        clean_interval=wilson(right, total),
        robust=robust / total,
        robust_interval=wilson(robust, total),
        threats=tuple(_threat(ledger) for ledger in found.ledgers),
        features=facts.features.record() if facts.features else None,
        attacks=tuple(found.attacks),
        per_class=_per_class(found),
        labels=tuple(found.y.tolist()),
        answers=tuple(found.answers.tolist()),
        training_cost=facts.training_cost,
        versions=versions("pyautoattack", "foolbox", "numpy"),
        device=str(found.x.device),
        command=" ".join(sys.argv) if "holomorph" in Path(sys.argv[0]).name else "",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _bound_reason(found: Evaluated) -> str:
    if not found.traits.differentiable:
        return "The model gives no gradients: black-box attacks and numerical gradients only."
    if any(isinstance(ledger.threat, FeatureThreat) for ledger in found.ledgers) and not found.quick:
        return "Each feature has an eps and a box of its own: our own attacks only, AutoAttack cannot serve."
    if found.quick:
        return f"A quick evaluation: cheap attacks on {len(found.y)} samples."
    return ""


def _threat(ledger: Ledger) -> ThreatResult:
    kept = int(ledger.robust.sum())
    interval = wilson(kept, len(ledger.y))
    names = tuple(dict.fromkeys(by for by in ledger.found_by if by not in (None, "clean")))
    return ThreatResult(
        threat=ledger.threat.plain() if isinstance(ledger.threat, FeatureThreat) else ledger.threat,
        robust=interval.value,
        interval=interval,
        curve=accuracy_curve(ledger.smallest, ledger.threat, tuple(str(n) for n in names)),
        broken_by=tuple(ledger.broken_by),
        smallest=tuple(d if math.isfinite(d) else None for d in ledger.smallest.tolist()),
    )


def _per_class(found: Evaluated) -> tuple[ClassResult, ...]:
    rows = []
    for label in range(found.traits.classes):
        mine = found.y == label
        if (count := int(mine.sum())) > 0:
            clean = float((found.answers == found.y)[mine].double().mean())
            robust = float(found.robust[mine].double().mean())
            rows.append(ClassResult(label=label, samples=count, clean=clean, robust=robust))
    return tuple(rows)


def _gallery(found: Evaluated, baseline: Evaluated | None, facts: Facts) -> tuple[Example, ...]:
    """The first samples for which anything was found, as pictures."""
    ledger = found.ledgers[0]
    rows = [i for i, by in enumerate(ledger.found_by) if by not in (None, "clean")][:GALLERY]
    if not rows:
        return ()
    x, near = ledger.x[rows], ledger.nearest[rows]
    after = found.subject.answers(near).tolist()
    others = (baseline.subject.answers(x).tolist(), baseline.subject.answers(near).tolist()) if baseline else None
    return tuple(
        Example(
            index=row,
            label=int(found.y[row]),
            threat=str(ledger.threat),
            attack=str(ledger.found_by[row]),
            distance=float(ledger.smallest[row]),
            shape=tuple(x.shape[1:]),
            input=tuple(facts.raw(x[k]).flatten().tolist()),
            adversarial=tuple(facts.raw(near[k]).flatten().tolist()),
            answer=int(found.answers[row]),
            answer_adversarial=after[k],
            baseline_answer=others[0][k] if others else None,
            baseline_answer_adversarial=others[1][k] if others else None,
        )
        for k, row in enumerate(rows)
    )


def save_adversarial(found: Evaluated, facts: Facts, path: Path) -> Path:
    """Write samples, labels and the nearest adversarial input of each threat, compressed.

    Arrays: ``x``, ``y``, and for threat k ``adversarial_k`` and ``smallest_k`` (infinite: none was found).
    """
    arrays: dict[str, Any] = {"x": facts.raw(found.x).to(facts.dtype).cpu().numpy(), "y": found.y.cpu().numpy()}
    for k, ledger in enumerate(found.ledgers):
        arrays[f"adversarial_{k}"] = facts.raw(ledger.nearest).cpu().numpy()
        arrays[f"smallest_{k}"] = ledger.smallest.cpu().numpy()
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return write_atomically(path, stream.getvalue())
