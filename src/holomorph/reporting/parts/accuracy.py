"""Clean and robust accuracy against eps, both models; the classes; the attacks one by one."""

from collections.abc import Sequence

from holomorph.records.base import Record
from holomorph.records.certificate import CertificateRecord, ThreatCertificate
from holomorph.records.evaluation import AccuracyCurve, EvaluationRecord, ThreatResult
from holomorph.reporting.certified import matching_certificate
from holomorph.reporting.images import Picture
from holomorph.reporting.parts.base import Context, one
from holomorph.reporting.plots import ROLES, accuracy_against_eps, class_bars


def accuracy_part(records: Sequence[Record]) -> Context:
    """Draw one plot a norm, one of the classes, and list the attacks."""
    found = one(records, EvaluationRecord)
    if found is None:
        return None
    norms = dict.fromkeys(result.threat.norm for result in found.threats)
    proved = matching_certificate(records)
    pictures = [picture for norm in norms if (picture := _curve(found, norm, proved))]
    if len(found.per_class) > 1:
        pictures.append(_classes(found))
    return {
        "pictures": pictures,
        "attacks": found.attacks,
        "baseline_attacks": found.baseline.attacks if found.baseline else (),
    }


def _curve(found: EvaluationRecord, norm: str, proved: CertificateRecord | None) -> Picture | None:
    both = {ROLES[0]: _of_norm(found, norm)}
    if found.baseline is not None:
        both[ROLES[1]] = _of_norm(found.baseline, norm)
    curves = {role: curve for role, results in both.items() if (curve := _first_curve(results))}
    if not curves:
        return None
    marks = {role: [(r.threat, r.interval) for r in results] for role, results in both.items()}
    parts = [part for part in (proved.threats if proved else ()) if part.threat.norm == norm]
    return accuracy_against_eps(curves, marks, norm, _best(parts, curves.get(ROLES[0])))


def _best(parts: Sequence[ThreatCertificate], curve: AccuracyCurve | None) -> list[float]:
    """The proved accuracy at each eps of the attacked curve: the best that any certificate of this norm says."""
    if not parts or curve is None:
        return []
    return [max(part.accuracy(eps) for part in parts) for eps in curve.eps]


def _of_norm(found: EvaluationRecord, norm: str) -> list[ThreatResult]:
    return [result for result in found.threats if result.threat.norm == norm]


def _first_curve(results: Sequence[ThreatResult]) -> AccuracyCurve | None:
    return next((result.curve for result in results if result.curve), None)


def _classes(found: EvaluationRecord) -> Picture:
    rows = [(found.class_name(c.label), c.clean, c.robust) for c in found.per_class]
    names, clean, robust = zip(*rows, strict=True)
    return class_bars(names, clean, robust)
