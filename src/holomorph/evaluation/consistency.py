"""Whether a record agrees with itself: everything that follows from its lists of samples is worked out again."""

import math
from collections import Counter

import torch

from holomorph._utils.interval import Interval
from holomorph._utils.statistics import proportion_interval
from holomorph._utils.words import counted
from holomorph.attacks.base import Effort, Situation
from holomorph.attacks.registry import plan
from holomorph.evaluation.checks import ALL
from holomorph.evaluation.curves import accuracy_curve
from holomorph.evaluation.paired import BASELINE_NAME, versus
from holomorph.evaluation.plan import quick_samples
from holomorph.evaluation.results import SLACK
from holomorph.evaluation.sequential import anytime_interval
from holomorph.evaluation.summary import bound_reason
from holomorph.records.certificate import CertificateRecord
from holomorph.records.evaluation import AccuracyCurve, AttackResult, EvaluationRecord, ThreatResult


def inconsistencies(record: EvaluationRecord) -> list[str]:
    """Every contradiction inside a record, and between it and the baseline inside it, in a sentence each."""
    if not record.threats or not record.samples:
        return ["The record holds no threat or no sample."]
    found = [] if record.digest == record.sealed().digest else ["The record was changed after it was sealed."]
    found += _lists(record) or [*_numbers(record), *_attacks(record), *_checks(record), *_flags(record)]
    found += _certificate(record, record.certificate) if record.certificate is not None else []
    if found:
        return found
    if record.baseline is not None:
        found += [f"Baseline: {text}" for text in _lists(record.baseline) or _numbers(record.baseline)]
        if record.baseline.samples_hash != record.samples_hash:
            found.append("The baseline was attacked on other samples.")
        else:
            expected = versus(record, record.baseline, BASELINE_NAME)
            if record.differences[: len(expected)] != expected:
                found.append("The differences to the baseline are not those of the records.")
    elif record.differences and any(gap.against == BASELINE_NAME for gap in record.differences):
        found.append("The record holds differences to a baseline, but no baseline.")
    return found


def _lists(record: EvaluationRecord) -> list[str]:
    n, found = record.samples, []
    lengths = {"labels": len(record.labels), "predictions": len(record.predictions)}
    for result in record.threats:
        lengths |= {f"attacks at {result.threat}": len(result.broken_by)}
        lengths |= {f"distances at {result.threat}": len(result.smallest)}
    found += [
        f"There are {length} {what} for {counted(n, 'sample')}." for what, length in lengths.items() if length != n
    ]
    return found


def _numbers(record: EvaluationRecord) -> list[str]:
    right = [p == y for p, y in zip(record.predictions, record.labels, strict=True)]
    alive = [all(r.broken_by[i] is None for r in record.threats) for i in range(record.samples)]
    union = anytime_interval(sum(alive), len(alive)) if record.stopped else proportion_interval(sum(alive), len(alive))
    clean = proportion_interval(sum(right), len(right))
    found = _interval("clean accuracy", record.clean, record.clean_interval, clean)
    found += _interval("robust accuracy", record.robust, record.robust_interval, union)
    for result in record.threats:
        found += _threat(result, right)
    for part in record.per_class:
        mine = [i for i, label in enumerate(record.labels) if label == part.label]
        shares = [sum(what[i] for i in mine) / max(1, len(mine)) for what in (right, alive)]
        off = max(abs(a - b) for a, b in zip(shares, (part.clean, part.robust), strict=True))
        if part.samples != len(mine) or off > 1e-9:
            found.append(f"The accuracies of class {part.label} are not those of its samples.")
    if {part.label for part in record.per_class} != set(record.labels):
        found.append("The classes of the record are not those of its labels.")
    return found


def _threat(result: ThreatResult, right: list[bool]) -> list[str]:
    t, n = result.threat, len(right)
    kept = [by is None for by in result.broken_by]
    found = _interval(f"robust accuracy at {t}", result.robust, result.interval, proportion_interval(sum(kept), n))
    limit = t.radius * (1 + SLACK)
    for i, (by, distance) in enumerate(zip(result.broken_by, result.smallest, strict=True)):
        if (by == "clean") == right[i] or (by == "clean" and distance != 0):
            found.append(f"{t}: whether sample {i} was wrong before any attack does not fit its prediction.")
        elif (by is None) != (distance is None or distance > limit):
            found.append(f"{t}: sample {i} is counted otherwise by its distance.")
    if result.curve is not None and not _fits(result.curve, result):
        found.append(f"{t}: the curve is not that of the distances.")
    return found


def _fits(curve: AccuracyCurve, result: ThreatResult) -> bool:
    """Whether the curve is the share of samples beyond each eps, up to the rounding of the distances."""
    distances = [math.inf if d is None else d for d in result.smallest]
    n, eps = len(distances), curve.eps
    grid = accuracy_curve(torch.tensor(distances, dtype=torch.float64), result.threat, ()).eps
    whole = (curve.norm, curve.samples, len(curve.accuracy), len(grid)) == (result.threat.norm, n, len(eps), len(eps))
    if not whole or not all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) for a, b in zip(eps, grid, strict=True)):
        return False
    for radius, accuracy in zip(eps, curve.accuracy, strict=True):
        beyond = [sum(d > radius * (1 + slack) for d in distances) / n for slack in (3 * SLACK, -SLACK)]
        if not beyond[0] - 1e-9 <= accuracy <= beyond[1] + 1e-9:
            return False
    return True


def _interval(what: str, value: float, interval: Interval, expected: Interval) -> list[str]:
    pairs = ((value, expected.value), (interval.value, expected.value), (interval.low, expected.low),
             (interval.high, expected.high), (interval.level, expected.level))  # fmt: skip
    if all(math.isclose(a, b, abs_tol=1e-9) for a, b in pairs):
        return []
    return [f"The {what} is {expected.value:.4f} ({expected.low:.4f} to {expected.high:.4f}), not as recorded."]


def _attacks(record: EvaluationRecord) -> list[str]:
    found = []
    for result in record.threats:
        mine = [attack for attack in record.attacks if attack.threat == str(result.threat)]
        broke, said = Counter(by for by in result.broken_by if by not in (None, "clean")), Counter[str]()
        wrong = sum(by == "clean" for by in result.broken_by)
        left = record.samples - wrong
        for attack in mine:
            said[attack.name] += attack.broken
            before, left = left, left - attack.broken
            off = attack.tried != before or abs(attack.accuracy - left / record.samples) > 1e-9
            if attack.broken > attack.tried or (off and not record.stopped):
                found.append(f"{result.threat}: what {attack.name} broke and what it left do not fit.")
        found += [
            f"{result.threat}: {name} is said to have broken {counted(count, 'sample')}, not {broke[name]}."
            for name, count in said.items()
            if count != broke[name]
        ]
        found += [f"{result.threat}: {text}" for text in _planned(record, result, mine)]
    return found


def _planned(record: EvaluationRecord, result: ThreatResult, mine: list[AttackResult]) -> list[str]:
    """What does not fit the attacks, and their settings, that such an evaluation plans."""
    runs = Counter((a.name, a.round, "limit" in a.settings) for a in mine)
    found = [f"{name} is recorded more than once." for (name, _, _), times in runs.items() if times > 1]
    found += [f"{a.name} has another seed than the record." for a in mine if a.settings.get("seed") != record.seed]
    if record.features is not None or record.stopped:
        return found
    effort: Effort = "quick" if record.quick else "thorough" if record.thorough else "full"
    drawn = any(a.settings.get("draws") for a in mine)
    here = Situation(result.threat, record.classes, gradients=_white(record), randomised=drawn, effort=effort,
                     samples=quick_samples(len(record.threats)))  # fmt: skip
    for attack in plan(here):
        same = [a.settings for a in mine if a.name == attack.name and a.round == 0]
        if not same:
            found.append(f"{attack.name} is planned and was not run.")
        if any(set(s) - {"seed", "limit"} != set(attack.settings()) - {"limit"} for s in same):
            found.append(f"{attack.name} has settings that it does not know.")
        for name, value in attack.settings().items():
            kept = [s[name] for s in same if name in s]
            number = isinstance(value, int) and record.quick  # a slow model leaves time for a share of the steps
            if kept and not any(k == value or (number and k is not None and k < value) for k in kept):
                found.append(f"{attack.name} is planned with {name} {value}, not {kept[0]}.")
    return found


def _white(record: EvaluationRecord) -> bool:
    return any(attack.access == "white box" for attack in record.attacks)


def _checks(record: EvaluationRecord) -> list[str]:
    if record.unchecked and not record.checks:
        return []
    known = [(check.number, check.name, check.guards, check.source) for check in ALL]
    if [(c.number, c.name, c.guards, c.source) for c in record.checks] != known:
        return [f"The record holds {len(record.checks)} checks that are not the {len(known)} of this version."]
    shares = [
        sum(by is None for by in result.broken_by) / max(1, sum(by != "clean" for by in result.broken_by))
        for result in (record.baseline.threats if record.baseline else ())
    ]
    weak = next(check for check in record.checks if check.name == "undefended baseline")
    if not any(math.isclose(weak.value, s) for s in shares) if weak.value is not None else any(shares):
        return ["The check undefended baseline does not fit the baseline."]
    silent = [c.name for c in record.checks if (c.verdict == "not run") != (c.value is None)]
    return [f"The check {name} has a value but was not run, or the reverse." for name in silent]


def _certificate(record: EvaluationRecord, proved: CertificateRecord) -> list[str]:
    """What is said to be proved against the samples, the radii, and what attacks found."""
    same = ("samples_hash", "samples", "labels", "predictions", "features", "classes", "clean",
            "clean_interval")  # fmt: skip
    if any(getattr(record, name) != getattr(proved, name) for name in same):
        return ["The certificate speaks of other samples or predictions."]
    if [part.threat for part in proved.threats] != [result.threat for result in record.threats]:
        return ["The certificate speaks of other threats."]
    found = []
    for part, result in zip(proved.threats, record.threats, strict=True):
        share = proportion_interval(sum(r >= part.threat.radius for r in part.radii), record.samples)
        found += _interval(f"proved accuracy at {part.threat}", part.proved, part.interval, share)
        if any((r > 0) != (by is not None) for r, by in zip(part.radii, part.proved_by, strict=True)):
            found.append(f"{part.threat}: radii and the proofs of them do not fit.")
        if any(s is not None and s < r for s, r in zip(result.smallest, part.radii, strict=True)):
            found.append(f"{part.threat}: an attack has broken a sample inside its proved radius.")
        if proved.untried > sum(r == 0 for r in part.radii):
            found.append(f"{part.threat}: more samples are said to be untried than are not proved.")
        if proved.searched and len(proved.searched) != record.samples:
            found.append(f"{part.threat}: the samples that were searched are not those of the certificate.")
        if proved.reason and any(part.radii):
            found.append(f"{part.threat}: radii are said to be proved where nothing can be.")
    return found


def _flags(record: EvaluationRecord) -> list[str]:
    reason = bound_reason(gradients=_white(record), by_feature=record.features is not None,
                          quick=record.quick)  # fmt: skip
    found = []
    if (record.upper_bound, record.upper_bound_reason) != (bool(reason), reason):
        found.append("Whether the robust accuracy is an upper bound does not fit the attacks.")
    if record.quick and record.thorough:
        found.append("The evaluation is said to be quick and thorough.")
    first = record.threats[0]
    for e in record.gallery:
        i = e.index % record.samples
        known = (i, record.labels[i], record.predictions[i], first.smallest[i])
        if known != (e.index, e.label, e.prediction, e.distance):
            found.append(f"The example of sample {e.index} is not what was found.")
    return found
