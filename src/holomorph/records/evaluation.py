"""What an evaluation found: the record of attacks, checks and values; the report reads nothing else."""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from holomorph._utils.io import read_npz
from holomorph.records.base import Interval, Part, Record
from holomorph.records.certificate import CertificateRecord
from holomorph.threats import ThreatModel
from holomorph.threats.ranges import FeatureRanges

#: What a check can say. "not run" always comes with its reason.
Verdict = Literal["pass", "warn", "fail", "not run"]

#: Why the value of a quick evaluation is an upper bound.
QUICK_LOOK = "A quick look: fewer and weaker attacks than a full evaluation."


class AttackResult(Part):
    """One attack under one threat: on how many samples it was tried and how many it broke."""

    name: str = Field(description="for instance apgd-ce, fab-t, square, fmn")
    package: str = Field(description="who wrote it and in which version, for instance pyautoattack 0.2.0")
    threat: str = Field(description="for instance inf:8/255")
    access: Literal["white box", "black box"]
    loss: str = Field(default="none", description="cross-entropy, margin, or none: what it climbs")
    curve: bool = Field(default=False, description="whether it looks for the nearest adversarial input")
    round: int = Field(default=0, description="of the stronger rounds that follow where black-box attacks win")
    settings: dict[str, Any] = Field(default_factory=dict)
    tried: int = Field(description="samples that had survived all attacks before it")
    broken: int = Field(description="of these, the ones it broke inside the threat")
    accuracy: float = Field(description="share of all samples still classified correctly after it and all before it")
    seconds: float


class Check(Part):
    """One of the evaluator's checks of itself and of the model: see docs/evaluation.md."""

    number: int
    name: str
    guards: str = Field(description="what the check guards against")
    verdict: Verdict
    value: float | None = None
    reason: str = Field(description="one sentence: the value in words, or why the check was not run")
    source: str


class AccuracyCurve(Part):
    """Accuracy against eps, from the smallest perturbation found for each sample: an upper bound at every eps."""

    norm: Literal["inf", "2", "1"]
    samples: int
    attacks: tuple[str, ...]
    eps: tuple[float, ...]
    accuracy: tuple[float, ...]


class ThreatResult(Part):
    """Everything under one threat; the lists hold one entry a sample."""

    threat: ThreatModel
    robust: float
    interval: Interval
    curve: AccuracyCurve | None = None
    broken_by: tuple[str | None, ...] = Field(description="the attack that broke it, clean if wrong before any")
    smallest: tuple[float | None, ...] = Field(description="the smallest perturbation found, 0 if wrong before any")


class ClassResult(Part):
    """Clean and robust accuracy of one class (robust: under all threats at once)."""

    label: int
    samples: int
    clean: float
    robust: float


class Example(Part):
    """An input, the nearest adversarial input found, and what the models predict: a picture for the report."""

    index: int
    label: int
    threat: str
    attack: str
    distance: float
    shape: tuple[int, ...]
    input: tuple[float, ...] = Field(default=(), exclude=True, description="flattened, in input units; not in the JSON")
    adversarial: tuple[float, ...] = Field(default=(), exclude=True, description="the same of the adversarial input")
    prediction: int
    prediction_adversarial: int
    baseline_prediction: int | None = None
    baseline_prediction_adversarial: int | None = None


class PairedDifference(Part):
    """The accuracy of this model minus that of another on the same samples, with its paired interval."""

    against: str = Field(description="the other model")
    quantity: str = Field(description="clean, a threat, or union")
    interval: Interval

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval.low > 0 or self.interval.high < 0


class EvaluationRecord(Record):
    """The outcome of :func:`holomorph.evaluate`.

    ``robust`` is the share of samples that no attack broke under any of the threats (their union); with one
    threat that is the robust accuracy. It is an upper bound of the true one, as every value from attacks is;
    ``upper_bound`` is set where not even the standard attacks were run in full.

    >>> EvaluationRecord.KIND
    'evaluation'
    """

    KIND: ClassVar[str] = "evaluation"

    model: str = Field(description="run folder, factory and weights, or class name: what was evaluated")
    model_source: dict[str, str] = Field(default_factory=dict, description="how audit loads it again")
    data: str = ""
    samples_hash: str = Field(default="", description="sha256 of samples and labels: records on the same ones pair")
    samples: int
    classes: int
    seed: int
    quick: bool = False
    thorough: bool = False
    upper_bound: bool = False
    upper_bound_reason: str = ""
    stopped: str = Field(default="", description="why a sequential evaluation took no more samples; empty: it took all")
    clean: float
    clean_interval: Interval
    robust: float
    robust_interval: Interval
    threats: tuple[ThreatResult, ...]
    features: FeatureRanges | None = None
    attacks: tuple[AttackResult, ...]
    checks: tuple[Check, ...] = ()
    unchecked: bool = Field(default=False, description="whether the checks were switched off")
    per_class: tuple[ClassResult, ...] = ()
    class_names: tuple[str, ...] = Field(default=(), description="of the classes in their order; empty: their numbers")
    labels: tuple[int, ...] = Field(default=(), description="the true label of each sample")
    predictions: tuple[int, ...] = Field(default=(), description="the model's prediction on each clean sample")
    gallery: tuple[Example, ...] = ()
    baseline: EvaluationRecord | None = Field(
        default=None, description="the undefended baseline under the same attacks"
    )
    differences: tuple[PairedDifference, ...] = Field(default=(), description="against the baseline, or another record")
    certificate: CertificateRecord | None = Field(default=None, description="what was proved of the same samples")
    adversarial_file: str | None = Field(default=None, description="npz beside the record: inputs, labels, attacks")
    training_cost: float | None = Field(default=None, description="cost of training relative to plain training")
    versions: dict[str, str] = Field(default_factory=dict)
    device: str = "cpu"
    command: str = ""
    finished: str = Field(default="", description="UTC, ISO 8601")
    seconds: float = 0.0
    digest: str = Field(default="", description="sha256 of everything else in the record")

    def sealed(self) -> EvaluationRecord:
        """The record with its digest."""
        text = self.model_dump_json(exclude={"digest"})
        return self.model_copy(update={"digest": hashlib.sha256(text.encode()).hexdigest()})

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the record, sealed anew."""
        return super(EvaluationRecord, self.sealed()).save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a record; its pictures come from the npz file beside it, where there is one."""
        record = super().load(path)
        beside = Path(path).parent / Path(record.adversarial_file or "").name
        if not record.gallery or record.adversarial_file is None or not beside.is_file():
            return record
        try:
            arrays = read_npz(beside, ("x", "adversarial_0"))
            x, near = arrays["x"], arrays["adversarial_0"]
            shown = tuple(
                example.model_copy(
                    update={
                        "input": tuple(x[example.index].ravel().tolist()),
                        "adversarial": tuple(near[example.index].ravel().tolist()),
                    }
                )
                for example in record.gallery
            )
        except (KeyError, ValueError, OSError, IndexError):  # the audit says what is wrong with it
            return record
        return record.model_copy(update={"gallery": shown})

    def autoattack(self, result: ThreatResult) -> float | None:
        """The accuracy that AutoAttack's own attacks left under a threat, before any other was run."""
        mine = [attack for attack in self.attacks if attack.threat == str(result.threat)]
        own = list(itertools.takewhile(lambda attack: attack.package.startswith("pyautoattack"), mine))
        return own[-1].accuracy if own else None

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed: any of them makes the robust accuracy untrustworthy."""
        return tuple(check for check in self.checks if check.verdict == "fail")

    @property
    def proved(self) -> float | None:
        """The share of samples that provably withstand every change of every threat; None where no proof was tried."""
        return None if self.certificate is None else self.certificate.everywhere

    def class_name(self, label: int) -> str:
        """The name of a class, or its number where it has none."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else str(label)

    @property
    def trustworthy(self) -> bool:
        """Whether no check failed."""
        return not self.failed
