"""Believing nobody: every figure of a saved evaluation worked out again from the adversarial inputs."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from holomorph.calculus.norms import norm
from holomorph.errors import DataError
from holomorph.evaluation.ledger import SLACK
from holomorph.evaluation.subject import Subject, under_attack
from holomorph.records.evaluation import EvaluationRecord, ThreatResult
from holomorph.types import Differentiable


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
        """Whether every figure stands."""
        return not self.discrepancies


def audit(record: EvaluationRecord, model: Differentiable, folder: str | Path = ".") -> AuditResult:
    """Re-verify a record from its saved adversarial inputs, trusting neither the attacks nor the record.

    The model answers every clean and every adversarial input again; distances and ranges are measured in double
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
    found: list[str] = []
    broken = torch.zeros(len(y), dtype=torch.bool)
    count = 0
    with under_attack(model), torch.no_grad():
        subject = Subject(model, draws=8 if any(a.settings.get("draws") for a in record.attacks) else 1)
        answers = subject.answers(x)
        wrong = answers != y
        for k, result in enumerate(record.threats):
            near, smallest = torch.from_numpy(arrays[f"adversarial_{k}"]), torch.from_numpy(arrays[f"smallest_{k}"])
            hit, problems = _threat(subject, x, y, wrong, near, smallest, result)
            broken |= hit
            count += int((hit & ~wrong).sum())
            found += problems
    clean, robust = float((~wrong).double().mean()), float((~broken).double().mean())
    for what, mine, theirs in (("clean", clean, record.clean), ("robust", robust, record.robust)):
        if not math.isclose(mine, theirs, abs_tol=1e-9):
            found.append(f"The {what} accuracy is {mine:.4f}, not {theirs:.4f}.")
    if tuple(answers.tolist()) != record.answers:
        found.append("The model's answers on the clean samples differ from the recorded ones.")
    return AuditResult(len(y), count, clean, robust, tuple(found))


def _threat(
    subject: Subject, x: Tensor, y: Tensor, wrong: Tensor, near: Tensor, smallest: Tensor, result: ThreatResult
) -> tuple[Tensor, list[str]]:
    """The samples broken under one threat, and what does not fit."""
    threat = result.threat
    low, high = threat.box
    distance = norm(near.double() - x.double(), threat.p)
    fooled = subject.answers(near) != y
    outside = ((near < low) | (near > high)).flatten(1).any(1)
    claimed = smallest.isfinite() & ~wrong
    problems = []
    if bad := int((claimed & ~fooled).sum()):
        problems.append(f"{threat}: {bad} inputs called adversarial are answered rightly.")
    if bad := int((claimed & outside).sum()):
        problems.append(f"{threat}: {bad} adversarial inputs lie outside the box [{low:g}, {high:g}].")
    slack = SLACK * (1 + float(x.abs().max()))
    if bad := int((claimed & ((distance - smallest.double()).abs() > slack)).sum()):
        problems.append(f"{threat}: {bad} recorded distances are not those of the saved inputs.")
    hit = wrong | (fooled & ~outside & (distance <= threat.radius * (1 + SLACK) + 1e-12))
    if int((~hit).sum()) != round(result.robust * len(y)):
        problems.append(f"{threat}: {int((~hit).sum())} samples are unbroken, not {round(result.robust * len(y))}.")
    return hit, problems


def _read(record: EvaluationRecord, folder: Path) -> dict[str, np.ndarray]:
    if record.adversarial_file is None:
        raise DataError("This evaluation kept no adversarial inputs. Evaluate again and keep them.")
    path = folder / Path(record.adversarial_file).name
    needed = ["x", "y"] + [f"{kind}_{k}" for k in range(len(record.threats)) for kind in ("adversarial", "smallest")]
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in needed}
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the adversarial inputs lie beside their record.") from None
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as adversarial inputs: {error}") from None
