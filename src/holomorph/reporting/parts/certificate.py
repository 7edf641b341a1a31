"""What was proved: a lower bound of the robust accuracy, how it was found, and whether attacks agree."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from holomorph.records.base import Interval, Record
from holomorph.records.certificate import CertificateRecord, ThreatCertificate
from holomorph.records.evaluation import EvaluationRecord
from holomorph.reporting.certified import given_certificate, matching_certificate, refuted
from holomorph.reporting.parts.base import Context, one
from holomorph.reporting.words import threat_name

#: What each method is, in words.
_METHODS = {
    "exact": "exact solution",
    "intervals": "intervals",
    "slopes": "a bound of the slope over the whole ball",
    "lines": "linear bounds",
    "branching": "the ball in parts",
    "smoothing": "smoothing",
}


class _Row(NamedTuple):
    """One threat."""

    threat: str
    proved: float
    interval: Interval
    attacked: float | None
    median: float
    methods: str


def certificate_part(records: Sequence[Record]) -> Context:
    """One row a threat, with the attacked accuracy on the same samples beside it."""
    found = one(records, EvaluationRecord)
    proved = given_certificate(records)
    if proved is None:
        return None
    attacked = {r.threat: r for r in found.threats} if found is not None and matching_certificate(records) else {}
    broken = [refuted(part, attacked[part.threat]) for part in proved.threats if part.threat in attacked]
    known = {part.threat: attacked[part.threat].robust for part in proved.threats if part.threat in attacked}
    return {
        "record": proved,
        "rows": [_row(proved, part, known.get(part.threat)) for part in proved.threats],
        "refuted": sum(broken),
        "same": bool(known) and len(known) == len(proved.threats),
    }


def _row(proved: CertificateRecord, part: ThreatCertificate, attacked: float | None) -> _Row:
    counts = Counter(name for name in part.proved_by if name is not None)
    methods = ", ".join(f"{_METHODS.get(name, name)} ({count})" for name, count in counts.most_common())
    middle = proved.median_radius(part)
    return _Row(threat_name(part.threat), part.proved, part.interval, attacked, middle, methods)
