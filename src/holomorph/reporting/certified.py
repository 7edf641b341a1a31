"""What an evaluation and a certificate say together: the verdict as an interval."""

import math
from collections.abc import Sequence

from holomorph.records.base import Record
from holomorph.records.certificate import CertificateRecord, ThreatCertificate
from holomorph.records.evaluation import EvaluationRecord, ThreatResult
from holomorph.reporting.parts.base import one
from holomorph.reporting.words import change_withstood, counted, duration, percentage, threat_sentence


def matching_certificate(records: Sequence[Record]) -> CertificateRecord | None:
    """The certificate of the very model and samples that were attacked; a smoothed classifier is another model."""
    found = one(records, EvaluationRecord)
    given = (one(records, CertificateRecord), found.certificate) if found is not None else ()
    return next((proved for proved in given if proved is not None and _same(found, proved)), None)


def given_certificate(records: Sequence[Record]) -> CertificateRecord | None:
    """The certificate that was given, or the one inside the evaluation."""
    found = one(records, EvaluationRecord)
    return one(records, CertificateRecord) or (found.certificate if found is not None else None)


def _same(found: EvaluationRecord | None, proved: CertificateRecord) -> bool:
    same = found is not None and (found.samples_hash, found.features) == (proved.samples_hash, proved.features)
    return same and proved.smoothing is None


def verdict_sentence(found: EvaluationRecord, proved: CertificateRecord | None) -> str:
    """The verdict from both sides, where every threat was looked at from both."""
    if found.clean == 0:
        verb = "is" if found.samples == 1 else "are"
        return (
            f"{percentage(0)} of {counted(found.samples, 'sample')} {verb} classified correctly, even without attack."
        )
    parts = [part for result in found.threats if (part := under(proved, result)) is not None]
    if proved is None or len(parts) < len(found.threats):
        allowed = ", or ".join(threat_sentence(result.threat) for result in found.threats)
        samples = f"{counted(found.samples, 'sample')} {'is' if found.samples == 1 else 'are'}"
        return f"{percentage(found.robust)} of {samples} still classified correctly where {allowed}."
    safe = [all(part.radii[i] >= part.threat.radius for part in parts) for i in range(found.samples)]
    changes = " and ".join(change_withstood(result.threat) for result in found.threats)
    low, high = percentage(sum(safe) / found.samples), percentage(found.robust)
    bounds = f"Exactly {low} (proved, and attacked)" if low == high else f"Between {low} (proved) and {high} (attacked)"
    return (
        f"{bounds} of {counted(found.samples, 'sample')} withstand{'s' if found.samples == 1 else ''} {changes}."
        f"{_limits(proved, any(safe))}"
    )


def _limits(proved: CertificateRecord, some: bool) -> str:
    """Why no more is proved, where that is no matter of the network's robustness alone."""
    if proved.reason:
        return f" Nothing is proved for this network: {proved.reason[0].lower()}{proved.reason[1:]}"
    searched = sum(proved.searched)
    far = next((part for part in proved.threats if max(part.radii) < part.threat.radius), None)
    if not some and searched and far is not None and (middle := proved.median_radius(far)):
        digits = 10.0 ** (1 - math.floor(math.log10(middle)))
        proved_size = math.floor(middle * digits) / digits  # down: what is written has to be proved
        size = change_withstood(far.threat.model_copy(update={"eps": float(f"{proved_size:.2g}")}))
        return f" Proofs reach less: of {counted(searched, 'unbroken sample')}, the median is proved for {size}."
    if proved.untried:
        late = "was not tried and counts" if proved.untried == 1 else "were not tried and count"
        return f" After {duration(proved.seconds)} {counted(proved.untried, 'sample')} {late} as not proved."
    wide = "the bounds through its layers are too wide for changes of this size."
    return "" if some else f" Nothing is proved for this network: {wide}"


def under(proved: CertificateRecord | None, result: ThreatResult) -> ThreatCertificate | None:
    """The certificate under the threat of an evaluation's result."""
    parts = proved.threats if proved is not None else ()
    return next((part for part in parts if part.threat == result.threat), None)


def refuted(part: ThreatCertificate, result: ThreatResult) -> int:
    """How many samples an attack has broken inside their proved radius: none, unless something is wrong."""
    pairs = zip(part.radii, result.smallest, strict=True)
    return sum(smallest is not None and smallest < radius for radius, smallest in pairs)
