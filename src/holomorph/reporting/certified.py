"""What an evaluation and a certificate say together: the verdict as an interval."""

from __future__ import annotations

from collections.abc import Sequence

from holomorph.records.base import Record
from holomorph.records.certificate import CertificateRecord, ThreatCertificate
from holomorph.records.evaluation import EvaluationRecord, ThreatResult
from holomorph.reporting.parts.base import one


def matching_certificate(records: Sequence[Record]) -> CertificateRecord | None:
    """The certificate of the very model and samples that were attacked; a smoothed classifier is another model."""
    found, proved = one(records, EvaluationRecord), one(records, CertificateRecord)
    if found is None or proved is None or proved.smoothing is not None:
        return None
    same = found.samples_hash == proved.samples_hash and found.features == proved.features
    return proved if same else None


def under(proved: CertificateRecord | None, result: ThreatResult) -> ThreatCertificate | None:
    """The certificate under the threat of an evaluation's result."""
    parts = proved.threats if proved is not None else ()
    return next((part for part in parts if part.threat == result.threat), None)


def refuted(part: ThreatCertificate, result: ThreatResult) -> int:
    """How many samples an attack has broken inside their proved radius: none, unless something is wrong."""
    pairs = zip(part.radii, result.smallest, strict=True)
    return sum(smallest is not None and smallest < radius for radius, smallest in pairs)
