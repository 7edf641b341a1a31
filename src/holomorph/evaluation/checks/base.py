"""What a check is, and the evidence it looks at."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from holomorph._utils import progress
from holomorph._utils.memory import halving_with
from holomorph._utils.seeding import generator
from holomorph.attacks.pgd import AttackLoss, PGDResult, attack_ascent
from holomorph.calculus.norms import random_in_ball
from holomorph.contract.classifier import Classifier
from holomorph.errors import HolomorphError
from holomorph.evaluation.results import Outcome, Results
from holomorph.records.evaluation import AttackResult, Check, Verdict
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import movable

_log = logging.getLogger("holomorph")


@dataclass
class Evidence:
    """The finished attacks, and a probe: the first samples that the model classifies correctly.

    What a check breaks on the way is accounted for like any attack's proposal: the values can only fall.
    """

    found: Outcome
    baseline: Outcome | None
    training_cost: float | None
    size: int = 64
    index: int = 0

    @property
    def classifier(self) -> Classifier:
        """The model under attack."""
        return self.found.classifier

    @property
    def results(self) -> Results:
        """The account of the threat that is looked at."""
        return self.found.per_threat[self.index]

    @property
    def threat(self) -> ThreatModel:
        """The threat that is looked at."""
        return self.results.threat

    @property
    def attacks(self) -> list[AttackResult]:
        """The attacks that were run under this threat."""
        return [attack for attack in self.found.attacks if attack.threat == str(self.threat)]

    def each(self) -> list[Evidence]:
        """The same evidence, looked at under one threat after the other."""
        return [replace(self, index=k) for k in range(len(self.found.per_threat))]

    @cached_property
    def rows(self) -> Tensor:
        """Indices of the probe."""
        rows = self.results.rows(everyone=True)
        if len(rows) == 0:
            raise NotApplicableError("the model classifies no sample correctly")
        return rows[: self.size]

    @cached_property
    def x(self) -> Tensor:
        """The probe's samples."""
        return self.found.x[self.rows]

    @cached_property
    def y(self) -> Tensor:
        """The probe's labels."""
        return self.found.y[self.rows]

    @property
    def survivors(self) -> Tensor:
        """Indices of samples that nothing has broken, as many as four probes hold."""
        return self.results.rows()[: 4 * self.size]

    def generator(self, purpose: int) -> torch.Generator:
        """A generator of its own for each check."""
        return generator(self.found.runner.seed, f"check {purpose}")

    def ascend(
        self,
        x: Tensor,
        y: Tensor,
        *,
        steps: int,
        loss: AttackLoss = "cross-entropy",
        threat: ThreatModel | None = None,
        start: Tensor | None = None,
    ) -> PGDResult:
        """Attack with the ascent; a model without gradients has no such attack."""
        self.need_gradients()

        def run(a: Tensor, b: Tensor, c: Tensor | None) -> PGDResult:
            few = max(3, round(self.found.pace * steps)) if steps > 1 else 1
            return attack_ascent(self.classifier, a, b, threat or self.threat, steps=few, loss=loss, start=c)

        return halving_with(PGDResult.joined, run, x, y, start)

    def noise(self, purpose: int, like: Tensor) -> Tensor:
        """One draw uniform in the threat's ball for each sample."""
        return movable(random_in_ball(like, self.threat.p, self.threat.radius, self.generator(purpose)), self.threat)

    def account(self, name: str, rows: Tensor, run: PGDResult) -> int:
        """Submit what an ascent inside the threat found; return how many samples it newly broke."""
        return self.results.submit(name, "white box", rows, run.proposal)

    def need_gradients(self) -> None:
        """Stop a check that needs gradients on a model that gives none."""
        if not self.found.inspection.differentiable:
            raise NotApplicableError("the model gives no gradients")


class NotApplicableError(HolomorphError):
    """The check cannot be run on this model; the message says why."""


@dataclass(frozen=True)
class Finding:
    """What a check saw: its verdict, its value, and one sentence."""

    verdict: Verdict
    value: float | None
    reason: str


class Checker(Protocol):
    """A check: its number in docs/evaluation.md, its name, what it guards against, who says so, and how to look.

    With ``per_threat`` it looks under every threat, and the worst of what it sees counts.
    """

    per_threat: ClassVar[bool]
    number: ClassVar[int]
    name: ClassVar[str]
    guards: ClassVar[str]
    source: ClassVar[str]

    def look(self, e: Evidence) -> Finding:
        """Look at the evidence."""
        ...


def run_checks(checks: Iterable[Checker], evidence: Evidence) -> tuple[Check, ...]:
    """Run every check; one that does not apply is recorded as not run, with the reason."""
    done = []
    for check in progress.track(checks, "checks"):
        try:
            finding = _worst(check, evidence) if check.per_threat else check.look(evidence)
        except NotApplicableError as error:
            finding = Finding("not run", None, f"Not run: {error}.")
        if finding.verdict == "fail":
            _log.warning("Check %d, %s, failed. %s", check.number, check.name, finding.reason)
        done.append(
            Check(
                number=check.number,
                name=check.name,
                guards=check.guards,
                verdict=finding.verdict,
                value=finding.value,
                reason=finding.reason,
                source=check.source,
            )
        )
    return tuple(done)


#: From the best verdict to the worst.
_ORDER: tuple[Verdict, ...] = ("not run", "pass", "warn", "fail")


def _worst(check: Checker, evidence: Evidence) -> Finding:
    """Look under every threat; the verdict and the value are the worst ones, the reason says all."""
    findings = []
    for e in evidence.each():
        try:
            findings.append((e.threat, check.look(e)))
        except NotApplicableError as error:
            findings.append((e.threat, Finding("not run", None, f"Not run: {error}.")))
    worst = max((finding for _, finding in findings), key=lambda finding: _ORDER.index(finding.verdict))
    said = [finding.reason for _, finding in findings]
    if len(set(said)) == 1:
        return worst
    return Finding(worst.verdict, worst.value, " ".join(f"At {t}: {f.reason}" for t, f in findings))


def graded(value: float, warn: float, fail: float) -> Verdict:
    """Pass up to ``warn``, fail above ``fail``, warn between them."""
    return "pass" if value <= warn else "warn" if value <= fail else "fail"
