"""Every planned attack under every threat on one model, and what is done where attacks turn out to be too weak."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holomorph.attacks.base import Attack, Effort, Situation
from holomorph.attacks.registry import named, plan, stronger
from holomorph.contract import check_labels
from holomorph.contract.classifier import Classifier
from holomorph.errors import DataError
from holomorph.evaluation.inspection import (
    AGREES,
    Inspection,
    examine,
    gradient_agreement,
    observe,
    off_grid_jump,
    tolerance,
    zero_gradient_share,
)
from holomorph.evaluation.plan import quick_samples, quick_size
from holomorph.evaluation.results import Outcome, Results
from holomorph.evaluation.runner import Runner
from holomorph.evaluation.sequential import Stopping
from holomorph.records.evaluation import AttackResult
from holomorph.threats import ThreatModel
from holomorph.threats.grid import Grid

_log = logging.getLogger("holomorph")

#: A share of the samples that is too small to go on for, and the rounds of an escalation at most.
_SLIGHT, _ROUNDS = 0.002, 3


@dataclass(frozen=True)
class Task:
    """What is attacked, with what: a classifier, samples on its device, threats, effort and the grid of the data.

    ``baseline`` is another classifier, to take examples from; ``pace`` the share of a quick plan's steps that a slow
    model leaves time for.
    """

    classifier: Classifier
    x: Tensor
    y: Tensor
    threats: Sequence[ThreatModel]
    runner: Runner
    effort: Effort = "full"
    grid: Grid | None = None
    baseline: Classifier | None = None
    pace: float = 1.0

    def part(self, rows: Tensor) -> Task:
        """The same for some of the samples."""
        return replace(self, x=self.x[rows], y=self.y[rows])


def attack_all(task: Task) -> Outcome:
    """Run every planned attack; a model that remembers, or depends on its batch, is asked from its first state.

    Where the answers to some queries change afterwards, the model has hidden what it remembers: all is done again.
    """
    classifier = task.classifier
    behaviour = observe(classifier, task.x, task.threats[0])
    alone = behaviour.batch_dependent
    found = _attacked(replace(task, classifier=classifier.isolated(forgetful=behaviour.stateful, alone=alone)))
    found.changed = _changed(found)
    if found.changed and not behaviour.stateful:
        share, behaviour = found.changed, replace(behaviour, stateful=True)
        found = _attacked(replace(task, classifier=classifier.isolated(forgetful=True, alone=alone)))
        found.changed = share
    found.inspection = replace(found.inspection, behaviour=behaviour)
    return found


def attack_baseline(task: Task, rows: Tensor) -> Outcome | None:
    """Attack the other classifier likewise, on the samples that were attacked."""
    if task.baseline is None:
        return None
    return attack_all(replace(task.part(rows), classifier=task.baseline, baseline=None))


def attack_until(task: Task, stopping: Stopping) -> tuple[Outcome, str]:
    """Attack all samples, or chunks of them in a random order until what was asked is answered; say the answer."""
    if not stopping.asked:
        return attack_all(task), ""
    done: Outcome | None = None
    total, size = len(task.y), min(64, task.runner.batch_size)
    for rows in stopping.chunks(total, size, task.runner.seed):
        part = attack_all(task.part(rows.to(task.y.device)))
        part.rows = rows
        done = part if done is None else done.joined(part)
        answer = stopping.answer(int(done.robust.sum()), len(done.y), total)
        if answer:
            return done, answer
    if done is None:
        raise DataError("There are no samples. Give at least one.")
    return done, f"All {total} samples were needed, or did not suffice."


def quickened(task: Task) -> Task:
    """As many samples, and steps, as a minute allows at the speed that the model shows."""
    classifier = task.classifier
    check_labels(task.y, classifier.logits(task.x[:1]).shape[1])

    def once(x: Tensor, y: Tensor) -> float:
        wall, own = time.perf_counter(), time.process_time()
        zero_gradient_share(classifier, x, y)
        classifier.predictions(x)
        taken = time.perf_counter() - wall
        return min(taken, time.process_time() - own) if x.device.type == "cpu" else taken  # others may share the cores

    def seconds(n: int) -> float:
        return task.runner.highest(min(once(task.x[:n], task.y[:n]) for _ in range(2)))

    n, pace = quick_size(len(task.threats), len(task.y), seconds)
    return replace(task, x=task.x[:n], y=task.y[:n], pace=pace)


def _attacked(task: Task) -> Outcome:
    before, x, y, runner = task.classifier.stored(), task.x, task.y, task.runner
    inspection = examine(task.classifier, x, y)
    classifier = task.classifier.asked(
        differentiable=inspection.differentiable, draws=8 if inspection.randomised else 1
    )
    predictions = classifier.predictions(x)
    per_threat = [Results(classifier, x, y, threat, predictions, task.grid) for threat in task.threats]
    found = Outcome(classifier, inspection, x, y, predictions, per_threat, runner, before, task.effort, task.pace)
    if task.grid is not None:
        found.jump = off_grid_jump(classifier, task.grid, x[:64], torch.Generator().manual_seed(runner.seed))
    for results in per_threat:
        agreement = _agreement(classifier, results, runner)
        found.agreement.append(agreement)
        lying = agreement is not None and agreement < AGREES
        _under_one_threat(found, results, _situation(task, results.threat, inspection, lying=lying))
    found.share()
    return found


def _situation(task: Task, threat: ThreatModel, seen: Inspection, *, lying: bool = False) -> Situation:
    """What the attacks under one threat are chosen for, from what was seen of the model."""
    baseline = task.baseline
    return Situation(
        threat, seen.classes, gradients=seen.differentiable, randomised=seen.randomised, masked=seen.masked or lying,
        effort=task.effort, source=baseline if baseline is not None and baseline.differentiable else None,
        samples=quick_samples(len(task.threats)), pace=task.pace, grid=task.grid,
    )  # fmt: skip


def _agreement(classifier: Classifier, results: Results, runner: Runner) -> float | None:
    rows = results.rows()
    if not classifier.differentiable or classifier.draws > 1 or len(rows) == 0:
        return None
    draws = torch.Generator().manual_seed(runner.seed)
    return gradient_agreement(classifier, results.x[rows], results.y[rows], results.threat, draws)


def _under_one_threat(found: Outcome, results: Results, here: Situation) -> None:
    """The plan, what a few samples show asked of all, and stronger rounds while black-box attacks win."""
    classifier, runner = found.classifier, found.runner
    raw = classifier.asked()
    for attack in plan(here):
        result = run_attack(attack, results, raw if attack.needs.averages else classifier, runner)
        found.attacks.append(result)
        if result.broken > 0.05 * attack.settings().get("limit", math.inf):
            found.attacks.append(
                run_attack(named(attack.name, replace(here, masked=True)), results, classifier, runner)
            )
    for level in range(1, _ROUNDS + 1):
        alone = int((results.black & ~results.white).sum())
        if alone <= max(1, _SLIGHT * len(results.y)) or len(results.rows()) == 0:
            return
        before = results.accuracy
        for attack in stronger(here, level):
            target = raw if attack.needs.averages else classifier
            found.attacks.append(run_attack(attack, results, target, runner).model_copy(update={"round": level}))
        if before - results.accuracy < max(_SLIGHT, 1 / len(results.y)):
            return


@torch.no_grad()
def _changed(found: Outcome) -> float | None:
    """The share of queried points whose logits are others when asked again: first state, other order, other batches."""
    queried = found.runner.queried
    share = 0.0
    if queried and not found.inspection.randomised:
        points, logits = (torch.cat(parts) for parts in zip(*queried, strict=True))
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(found.runner.seed))
        again = found.classifier.restore().logits(points[order], batch_size=5)
        apart = (again - logits[order]).abs().amax(1)
        slack = 16 * tolerance(logits)
        share = float((~(apart <= slack)).cpu().double().mean())
    queried.clear()
    share = found.runner.highest(share)
    return None if found.inspection.randomised else share


def run_attack(attack: Attack, results: Results, classifier: Classifier, runner: Runner) -> AttackResult:
    """Run one attack on the samples it is for, and account for what it proposes."""
    rows, alive, clock = results.rows(everyone=attack.needs.everyone), len(results.rows()), time.perf_counter()
    broken = 0
    if len(rows):
        proposals = runner.propose(attack, results.threat, classifier, results.x[rows], results.y[rows])
        broken = results.submit(attack.name, attack.needs.access, rows, proposals)
    seconds = time.perf_counter() - clock
    _log.info("%s at %s broke %d of %d in %.1f s.", attack.name, results.threat, broken, alive, seconds)
    return AttackResult(
        name=attack.name, package=attack.needs.version, threat=str(results.threat), access=attack.needs.access,
        loss=attack.needs.loss, curve=attack.needs.curve, settings=attack.settings() | {"seed": runner.seed},
        tried=alive, broken=broken, accuracy=results.accuracy, seconds=seconds,
    )  # fmt: skip
