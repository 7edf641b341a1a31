"""Believing nobody: every value of a saved evaluation worked out again from the adversarial inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from holomorph._utils.fingerprint import digest
from holomorph._utils.io import read_npz
from holomorph.calculus.norms import norm
from holomorph.certification.certify import certify
from holomorph.contract import Differentiable
from holomorph.contract.classifier import Classifier
from holomorph.contract.outputs import are_probabilities
from holomorph.contract.snapshot import Snapshot, under_attack
from holomorph.errors import DataError, HolomorphError
from holomorph.evaluation.consistency import inconsistencies
from holomorph.evaluation.inspection import AGREES, Behaviour, gradient_agreement, observe
from holomorph.evaluation.results import SLACK
from holomorph.records.evaluation import EvaluationRecord, ThreatResult
from holomorph.threats.features import Features

#: Samples under each threat that are proved again.
PROVED_AGAIN = 64


@dataclass(frozen=True)
class AuditResult:
    """What an audit found: how many adversarial inputs were looked at, and every discrepancy in one sentence."""

    samples: int
    adversarial: int
    clean: float
    robust: float
    discrepancies: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every value stands."""
        return not self.discrepancies


def audit(record: EvaluationRecord, model: Differentiable, folder: str | Path = ".") -> AuditResult:
    """Re-verify a record from its saved adversarial inputs, trusting neither the attacks nor the record.

    The model predicts every clean and every adversarial input again; distances and ranges are measured in double
    precision; accuracies are counted anew and compared with what the record says.

    Parameters
    ----------
    record:
        A record whose adversarial inputs were kept.
    model:
        The model that it speaks of.
    folder:
        Where the record, and the file beside it, lie.

    Raises
    ------
    DataError
        When the inputs were not kept or cannot be read.
    """
    arrays = _read(record, Path(folder))
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    room = _Room.of(record, x)
    found: list[str] = inconsistencies(record)
    if (len(x), tuple(y.tolist())) != (record.samples, record.labels):
        found.append("The saved samples are not those of the record.")
        return AuditResult(len(y), 0, math.nan, math.nan, tuple(found))
    if digest(x, y) != record.samples_hash:
        found.append("The hash of the saved samples is another than the recorded one.")
    broken = torch.zeros(len(y), dtype=torch.bool)
    count = 0
    draws = 8 if any(a.settings.get("draws") for a in record.attacks) else 1
    classifier = Classifier(model, draws=draws, first=Snapshot(model))
    with under_attack(classifier), torch.no_grad():
        behaviour = observe(classifier.asked(), x, record.threats[0].threat) if len(x) else Behaviour()
        classifier = classifier.isolated(forgetful=behaviour.stateful, alone=behaviour.batch_dependent)
        predictions = classifier.predictions(x)
        wrong = predictions != y
        for k, result in enumerate(record.threats):
            near, smallest = torch.from_numpy(arrays[f"adversarial_{k}"]), torch.from_numpy(arrays[f"smallest_{k}"])
            hit, problems = _threat(classifier, room, x, y, wrong, near, smallest, result)
            broken |= hit
            count += int((hit & ~wrong).sum())
            found += problems
    clean, robust = float((~wrong).cpu().double().mean()), float((~broken).cpu().double().mean())
    for what, mine, theirs in (("clean", clean, record.clean), ("robust", robust, record.robust)):
        if not math.isclose(mine, theirs, abs_tol=1e-9):
            found.append(f"The {what} accuracy is {mine:.4f}, not {theirs:.4f}.")
    if tuple(predictions.tolist()) != record.predictions:
        found.append("The model's predictions on the clean samples differ from the recorded ones.")
    if (classes := classifier.classes) is not None and classes != record.classes:
        found.append(f"The model has {classes} classes, not {record.classes}.")
    found += _verdicts(record, behaviour, classifier, x, y) + _proofs(record, model, room, x, y)
    return AuditResult(len(y), count, clean, robust, tuple(found))


def _verdicts(
    record: EvaluationRecord, behaviour: Behaviour, classifier: Classifier, x: Tensor, y: Tensor
) -> list[str]:
    """Checks that are said to pass and do not, of those that the model alone decides."""
    said = {check.name: check.verdict for check in record.checks}
    passes = [classifier.logits(x[:64]) for _ in range(5)]
    spread = max(float((other - passes[0]).abs().max()) for other in passes) / float(passes[0].abs().max() + 1e-30)
    fails = {
        "memory": behaviour.stateful or behaviour.batch_dependent,
        "determinism": classifier.draws == 1 and spread > 1e-4,
        "logits": are_probabilities(passes[0]),
    }
    if record.features is None and said.get("gradient against differences") == "pass":
        threat, draws = record.threats[0].threat, torch.Generator().manual_seed(record.seed)
        right = classifier.predictions(x) == y
        agreement = gradient_agreement(classifier, x[right], y[right], threat, draws) if right.any() else None
        value = next(check.value for check in record.checks if check.name == "gradient against differences")
        far = agreement is None or value is None or abs(agreement - value) > 0.05
        fails["gradient against differences"] = agreement is not None and (agreement < AGREES or far)
    return [
        f"The check {name} is said to be {said[name]}; the model fails it."
        for name, failed in fails.items()
        if failed and said.get(name) in ("pass", "warn")
    ]


def _proofs(record: EvaluationRecord, model: Differentiable, room: _Room, x: Tensor, y: Tensor) -> list[str]:
    """Some of the samples that are said to be proved, proved again."""
    found = []
    for part in record.certificate.threats if record.certificate is not None else ():
        rows = [i for i, radius in enumerate(part.radii) if radius > 0][:PROVED_AGAIN]
        if rows and len(part.radii) == len(y):
            try:
                again = certify(model, x[rows], y[rows], part.threat, features=room.features)
                radii = zip(rows, again.threats[0].radii, strict=True)
                missing = sum(radius < part.radii[row] * (1 - 1e-9) for row, radius in radii)
            except HolomorphError:
                missing = len(rows)
            found += [f"{part.threat}: {missing} of {len(rows)} proofs do not succeed again."] if missing else []
    return found


@dataclass(frozen=True)
class _Room:
    """The unit and the walls of every coordinate; where the unit is infinite nothing may move."""

    unit: Tensor
    low: Tensor
    high: Tensor
    features: Features | None = None

    @classmethod
    def of(cls, record: EvaluationRecord, x: Tensor) -> _Room:
        """Read them off the record: one box for all, or the features' own."""
        if record.features is None:
            one, low, high = (torch.tensor(v, dtype=torch.float64) for v in (1.0, *record.threats[0].threat.box))
            return cls(one, low, high)
        f = record.features
        features = Features.recorded(f, tuple(x.shape[1:]))
        return cls(features.eps, features.low, features.high, features)

    def impossible(self, x: Tensor, near: Tensor) -> Tensor:
        """Which inputs are no possible rows of their table."""
        if self.features is None or not self.features.constrained:
            return torch.zeros(len(x), dtype=torch.bool, device=x.device)
        return ~self.features.possible(x, near)

    def distance(self, x: Tensor, near: Tensor, p: float) -> Tensor:
        """The size of the perturbation in units; infinite where a frozen feature moved."""
        moved = near.double() - x.double()
        return norm(torch.where(moved == 0, 0.0, moved / self.unit), p)

    def outside(self, near: Tensor) -> Tensor:
        """Which samples lie past a wall, in their own precision; a change of units rounds in double precision."""
        low, high = self.low.to(near), self.high.to(near)
        slack = 1e-12 * (low.abs() + high.abs())
        return ((near < low - slack) | (near > high + slack)).flatten(1).any(1)

    def slack(self, x: Tensor) -> float:
        """Rounding allowed when distances are compared: single precision at the scale of the samples, in units."""
        size = torch.where(self.unit > 0, (x - self.low).abs() / self.unit, 0.0)
        return SLACK * (1 + float(size.max()))


def _threat(
    classifier: Classifier,
    room: _Room,
    x: Tensor,
    y: Tensor,
    wrong: Tensor,
    near: Tensor,
    smallest: Tensor,
    result: ThreatResult,
) -> tuple[Tensor, list[str]]:
    """The samples broken under one threat, and what does not fit."""
    threat = result.threat
    distance = room.distance(x, near, threat.p)
    outside = room.outside(near)
    claimed = smallest.isfinite() & ~wrong
    lead = classifier.margins(near.to(x.dtype), y)
    fooled = torch.where(claimed, lead <= 0, lead < 0)  # where rounding decides, the attack is believed
    problems = []
    if bad := int((claimed & ~fooled).sum()):
        problems.append(f"{threat}: {bad} inputs called adversarial are classified correctly.")
    if bad := int((claimed & outside).sum()):
        problems.append(f"{threat}: {bad} adversarial inputs lie outside the box.")
    impossible = room.impossible(x, near)
    if bad := int((claimed & impossible).sum()):
        problems.append(f"{threat}: {bad} adversarial inputs break the constraints of their features.")
    if bad := int((claimed & ((distance - smallest.double()).abs() > room.slack(x))).sum()):
        problems.append(f"{threat}: {bad} recorded distances are not those of the saved inputs.")
    hit = wrong | (fooled & ~outside & ~impossible & (distance <= threat.radius * (1 + SLACK) + 1e-12))
    counted = torch.tensor([by is not None for by in result.broken_by])
    if differ := int((counted != hit).sum()):
        problems.append(f"{threat}: {differ} samples are counted otherwise than the saved inputs show.")
    recorded = torch.tensor([math.inf if d is None else d for d in result.smallest], dtype=torch.float64)
    if not torch.allclose(recorded, smallest.double(), rtol=1e-6, atol=1e-12):
        problems.append(f"{threat}: the recorded distances are not the saved ones.")
    if int((~hit).sum()) != round(result.robust * len(y)):
        problems.append(f"{threat}: {int((~hit).sum())} samples are unbroken, not {round(result.robust * len(y))}.")
    return hit, problems


def _read(record: EvaluationRecord, folder: Path) -> dict[str, np.ndarray]:
    if record.adversarial_file is None:
        raise DataError("This evaluation kept no adversarial inputs. Evaluate again and keep them.")
    path = folder / Path(record.adversarial_file).name
    needed = ["x", "y"] + [f"{kind}_{k}" for k in range(len(record.threats)) for kind in ("adversarial", "smallest")]
    try:
        return read_npz(path, needed)
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the adversarial inputs lie beside their record.") from None
    except (KeyError, ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as adversarial inputs: {error}") from None
