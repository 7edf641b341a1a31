"""From what the attacks found to the record."""

import io
import math
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holomorph._utils.fingerprint import digest
from holomorph._utils.io import write_atomically
from holomorph._utils.statistics import proportion_interval
from holomorph._utils.versions import versions
from holomorph.evaluation.checks import ALL, Evidence
from holomorph.evaluation.checks import run_checks as look
from holomorph.evaluation.curves import accuracy_curve
from holomorph.evaluation.paired import BASELINE_NAME, versus
from holomorph.evaluation.plan import quick_samples
from holomorph.evaluation.results import Outcome, Results
from holomorph.evaluation.sequential import anytime_interval
from holomorph.records.evaluation import QUICK_LOOK, Check, ClassResult, EvaluationRecord, Example, ThreatResult
from holomorph.threats.constraints import FeatureThreat
from holomorph.threats.features import Features

#: Pictures kept for the report.
GALLERY = 8


@dataclass(frozen=True)
class Description:
    """What the caller says of the model, for the record."""

    name: str
    data: str
    training_cost: float | None
    source: dict[str, str]
    features: Features | None = None
    dtype: torch.dtype | None = None
    class_names: tuple[str, ...] = ()

    def raw(self, x: Tensor) -> Tensor:
        """Inputs in the units that the user knows."""
        return x if self.features is None else self.features.decode(x)


def to_record(
    found: Outcome,
    baseline: Outcome | None,
    description: Description,
    *,
    run_checks: bool,
    keep: Path | None,
    started: float,
    stopped: str = "",
) -> EvaluationRecord:
    """Build the record, with the baseline's inside it, and run the checks."""
    checks: tuple[Check, ...] = ()
    if run_checks:  # before the account is closed: what a check breaks on the way counts
        probe = max(4, quick_samples(len(found.per_threat)) // 5) if found.quick else 64
        evidence = Evidence(found, baseline, description.training_cost, size=probe)
        checks = look(ALL, evidence)
        found.share()
    record = _bare(found, description)
    other = None
    if baseline is not None:
        name = f"undefended baseline of {description.name}"
        other = _bare(baseline, replace(description, name=name, training_cost=1.0, source={}))
    if keep is not None and found.runner.first:
        save_adversarial(found, description, keep)
    interval = anytime_interval(int(found.robust.sum()), len(found.y)) if stopped else record.robust_interval
    return record.model_copy(
        update={
            "baseline": other,
            "stopped": stopped,
            "robust_interval": interval,
            "differences": versus(record, other, BASELINE_NAME) if other is not None else (),
            "checks": checks,
            "unchecked": not run_checks,
            "gallery": _gallery(found, baseline, description),
            "adversarial_file": keep.name if keep else None,
            "seconds": time.perf_counter() - started,
        }
    ).sealed()


def _bare(found: Outcome, description: Description) -> EvaluationRecord:
    total = len(found.y)
    right = int((found.predictions == found.y).sum())
    robust = int(found.robust.sum())
    features = any(isinstance(results.threat, FeatureThreat) for results in found.per_threat)
    gradients = found.inspection.differentiable
    reason = bound_reason(gradients=gradients, by_feature=features, quick=found.quick)
    return EvaluationRecord(
        model=description.name, model_source=description.source, data=description.data,
        samples_hash=digest(description.raw(found.x).to(description.dtype), found.y), samples=total,
        classes=found.inspection.classes, seed=found.runner.seed, quick=found.quick,
        thorough=found.effort == "thorough", upper_bound=bool(reason), upper_bound_reason=reason, clean=right / total,
        clean_interval=proportion_interval(right, total), robust=robust / total,
        robust_interval=proportion_interval(robust, total),
        threats=tuple(_threat(results) for results in found.per_threat),
        features=description.features.record() if description.features else None, attacks=tuple(found.attacks),
        per_class=_per_class(found), class_names=description.class_names, labels=tuple(found.y.tolist()),
        predictions=tuple(found.predictions.tolist()), training_cost=description.training_cost,
        versions=versions("pyautoattack", "foolbox", "numpy"), device=str(found.x.device),
        command=" ".join(sys.argv) if "holomorph" in Path(sys.argv[0]).name else "",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def bound_reason(*, gradients: bool, by_feature: bool, quick: bool) -> str:
    """Why not even the standard attacks were run in full; empty where they were."""
    if not gradients:
        return "The model gives no gradients: black-box attacks and numerical gradients only."
    if by_feature and not quick:
        return "Each feature has an eps and a box of its own: our own attacks only, AutoAttack cannot serve."
    return QUICK_LOOK if quick else ""


def _threat(results: Results) -> ThreatResult:
    kept = int(results.robust.sum())
    interval = proportion_interval(kept, len(results.y))
    names = tuple(dict.fromkeys(by for by in results.found_by if by not in (None, "clean")))
    return ThreatResult(
        threat=results.threat.plain() if isinstance(results.threat, FeatureThreat) else results.threat,
        robust=interval.value,
        interval=interval,
        curve=accuracy_curve(results.smallest, results.threat, tuple(str(n) for n in names)),
        broken_by=tuple(results.broken_by),
        smallest=tuple(d if math.isfinite(d) else None for d in results.smallest.tolist()),
    )


def _per_class(found: Outcome) -> tuple[ClassResult, ...]:
    rows = []
    for label in range(found.inspection.classes):
        mine = found.y == label
        if (count := int(mine.sum())) > 0:
            clean = float((found.predictions == found.y)[mine].cpu().double().mean())
            robust = float(found.robust[mine].cpu().double().mean())
            rows.append(ClassResult(label=label, samples=count, clean=clean, robust=robust))
    return tuple(rows)


def _gallery(found: Outcome, baseline: Outcome | None, description: Description) -> tuple[Example, ...]:
    """Successful attacks inside the threat first, then the nearest that lie beyond it, as pictures."""
    results = found.per_threat[0]
    inside = [i for i, by in enumerate(results.broken_by) if by not in (None, "clean")]
    beyond = [i for i, by in enumerate(results.found_by) if by not in (None, "clean") and results.broken_by[i] is None]
    rows = (inside[: max(GALLERY - 2, GALLERY - len(beyond))] + beyond)[:GALLERY]
    if not rows:
        return ()
    x, near = results.x[rows], results.nearest[rows]
    after = found.classifier.predictions(near).tolist()
    others = (
        (baseline.classifier.predictions(x).tolist(), baseline.classifier.predictions(near).tolist())
        if baseline
        else None
    )
    return tuple(
        Example(
            index=row,
            label=int(found.y[row]),
            threat=str(results.threat),
            attack=str(results.found_by[row]),
            distance=float(results.smallest[row]),
            shape=tuple(x.shape[1:]),
            input=tuple(description.raw(x[k]).flatten().tolist()),
            adversarial=tuple(description.raw(near[k]).flatten().tolist()),
            prediction=int(found.predictions[row]),
            prediction_adversarial=after[k],
            baseline_prediction=others[0][k] if others else None,
            baseline_prediction_adversarial=others[1][k] if others else None,
        )
        for k, row in enumerate(rows)
    )


def save_adversarial(found: Outcome, description: Description, path: Path) -> Path:
    """Write samples, labels and the nearest adversarial input of each threat, compressed.

    Arrays: ``x``, ``y``, and for threat k ``adversarial_k`` and ``smallest_k`` (infinite: none was found).
    """
    arrays: dict[str, Any] = {
        "x": description.raw(found.x).to(description.dtype).cpu().numpy(),
        "y": found.y.cpu().numpy(),
    }
    for k, results in enumerate(found.per_threat):
        arrays[f"adversarial_{k}"] = description.raw(results.nearest).cpu().numpy()
        arrays[f"smallest_{k}"] = results.smallest.cpu().numpy()
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return write_atomically(path, stream.getvalue())
