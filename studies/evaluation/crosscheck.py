"""The evaluation against AutoAttack's own script, and against newer attacks.

Claims: robust accuracy is never above the script's; a quick evaluation finds as much in at most half of the time; no
newer attack breaks more at equal passes. Run: ``python -m studies.evaluation.crosscheck [script|rivals|outside]`` (3,
15 and 5 minutes of one core). A rival has nine rounds of 100 gradients; counted is what 1, 3 and 9 rounds leave.
"""

import sys
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from holomorph.attacks.autoattack import standard
from holomorph.attacks.pgd import Objective
from holomorph.attacks.targeted import Targeted, Towards
from holomorph.calculus.ascent import Around, climb
from holomorph.calculus.norms import random_in_ball
from holomorph.contract.classifier import Classifier, margin
from holomorph.contract.snapshot import under_attack
from holomorph.data import load_data
from holomorph.evaluation.evaluate import evaluate
from holomorph.nn.classifiers import build_classifier
from holomorph.rules import parse
from holomorph.sklearn import HolomorphicClassifier
from holomorph.threats import ThreatModel
from studies.kept import keep, results

RULES = ("plain", "dirichlet", "pgd", "nfgsm", "trades")
ROUNDS, STEPS, SPREAD = 9, 100, 7
DIGITS, MLP, CNN = "digits", "mlp?width=128", "cnn?width=16"
#: Data, network or solver, rule, threat.
MODELS = {f"MLP, {rule}": (DIGITS, MLP, rule, "inf:0.1") for rule in ("plain", "dirichlet", "pgd", "trades")} | {
    "MLP, finite, l_2": (DIGITS, MLP, "finite", "2:0.5"),
    "CNN, plain, 0.02": ("fashion-mnist", CNN, "plain", "inf:0.02"),
    "CNN, finite, 0.1": (DIGITS, CNN, "finite", "inf:0.1"),
    "CNN, pgd, 0.3": (DIGITS, CNN, "pgd(steps=3)", "inf:0.3"),
    "Fock": (DIGITS, "fock", "", "inf:0.1"),
    "Fock, l_2": (DIGITS, "fock", "", "2:0.5"),
}
ADAPTIVE, LARGEST, STEEPEST = "adaptive starts", "largest logits", "steepest slopes"
RIVALS = ("cross-entropy", "margin", "scaled", "probabilities", ADAPTIVE, LARGEST, STEEPEST)


@cache
def trained(source: str, network: str, name: str, text: str) -> tuple[nn.Module, Tensor, Tensor, ThreatModel]:
    """A small model after a short training on at most 10,000 samples, 100 test samples and the threat."""
    data, threat = load_data(source), ThreatModel.parse(text, (0.0, 1.0))
    (x, y), (x_test, y_test) = ([part[:count] for part in data.part(which)]
                                for which, count in (("train", 10_000), ("test", 100)))  # fmt: skip
    if not name:
        solved = HolomorphicClassifier(network).fit(x.flatten(1).double().numpy(), y.numpy())
        return solved.model_, x_test.double(), y_test, threat
    torch.manual_seed(0)
    model, rule = build_classifier(network, tuple(data.shape), data.classes), parse(name, threat)
    optimizer, epochs = torch.optim.Adam(model.parameters(), 2e-3), 40 if source == DIGITS else 10
    for epoch in range(epochs):
        rule.progress = min(1.0, 2 * epoch / epochs)
        for rows in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            rule(model, x[rows], y[rows]).backward()
            optimizer.step()
    return model.eval(), x_test, y_test, threat


def script(name: str) -> dict[str, Any]:
    """What is left and processor seconds: the script, quick evaluations and a full one, in turn."""
    model, x, y, threat = trained(DIGITS, MLP, name, "inf:0.1")
    x, y = x[:95], y[:95]
    run = partial(evaluate, model, x, y, threat)
    suite = AutoAttack(model, norm="Linf", eps=threat.radius, seed=0, version="standard")
    found: dict[str, Any] = {}
    for what, work in {
        "script": lambda: suite.run_standard_evaluation(x, y, batch_size=250)[0],
        "quick, attacks": lambda: run(quick=True, checks=False, prove=0),
        "quick, with checks": lambda: run(quick=True, prove=0),
        "quick, with proofs": lambda: run(quick=True),
        "full": run,
    }.items():
        clock = time.process_time()
        last = work()
        found[f"seconds, {what}"] = time.process_time() - clock
        robust = (model(last).argmax(1) == y).double().mean() if what == "script" else last.robust
        found[f"robust, {what}"] = float(robust)
    return found | {"clean": last.clean, "passed": sum(check.verdict == "pass" for check in last.checks)}


class Height(Objective):
    """Any function of the logits: the margin of the probabilities (Ma et al. 2024, PMA), or a direction (ODI)."""

    def __init__(self, classifier: Classifier, x: Tensor, y: Tensor, height: Callable[[Tensor], Tensor]) -> None:
        super().__init__(classifier, x, y, "margin")
        self.height = height

    def _loss(self, logits: Tensor, m: Tensor) -> Tensor:
        return self.height(logits)


def directions(y: Tensor, classes: int, won: dict[int, list[Tensor]], draws: torch.Generator) -> Tensor:
    """Of the logits; every other time one that has broken a sample of the class: after Liu et al. 2022 (A3)."""
    ways = 2 * torch.rand(len(y), classes, generator=draws) - 1
    towards = (y + torch.randint(1, classes, y.shape, generator=draws)) % classes
    ways.scatter_(1, y[:, None], 0.6 * torch.rand(len(y), 1, generator=draws) - 0.5).scatter_(1, towards[:, None], 0.8)
    for i, label in enumerate(y.tolist()):
        if label in won and torch.rand((), generator=draws) < 0.5:
            ways[i] = won[label][int(torch.randint(len(won[label]), (), generator=draws))]
    return ways


def survivors(kind: str, classifier: Classifier, x: Tensor, y: Tensor, threat: ThreatModel) -> list[int]:
    """How many samples are left after each round of one rival."""
    draws, rows, won, found = torch.Generator().manual_seed(0), torch.arange(len(y)), {}, []
    logits = classifier.logits(x)
    largest = logits.scatter(1, y[:, None], -torch.inf).argsort(1, descending=True)
    order = {LARGEST: largest, STEEPEST: Targeted(threat).ranked(classifier, x, y)}.get(kind)
    for number in range(ROUNDS):
        z, labels, steps = x[rows], y[rows], STEPS - SPREAD * (kind == ADAPTIVE)
        around, given = Around(z, threat), (classifier, z, labels)
        ways = directions(labels, logits.shape[1], won, draws)
        start = z + random_in_ball(z, threat.p, threat.radius, draws) if number and order is None else z
        if kind == ADAPTIVE:
            spread = Height(*given, lambda h, ways=ways: (h * ways).sum(1))
            start = climb(spread, start, around, [threat.radius] * SPREAD).last
        objective = (
            Towards(*given, order[rows, number]) if order is not None
            else Height(*given, lambda h, labels=labels: -margin(h.softmax(1), labels)) if kind == "probabilities"
            else Objective(*given, "scaled" if kind == ADAPTIVE else kind)  # type: ignore[arg-type]
        )  # fmt: skip
        climb(objective, start, around, [2 * threat.radius] * steps, momentum=0.25, patience=steps // 10)
        for way, label in zip(ways[objective.broken], labels[objective.broken].tolist(), strict=True):
            won.setdefault(label, []).append(way)
        rows = rows[~objective.broken]
        found.append(len(rows))
    return found


def left(classifier: Classifier, x: Tensor, y: Tensor, threat: ThreatModel, seed: int, stages: int = 4) -> Tensor:
    """The samples that AutoAttack, or its first stages, leaves."""
    rows = torch.arange(len(y))
    for stage in standard(threat, 10)[:stages]:
        rows = rows[classifier.predictions(stage(classifier, x[rows], y[rows], seed)) == y[rows]]
    return rows


def contest(name: str) -> dict[str, Any]:
    """Every rival, and AutoAttack's two APGDs, on one model."""
    model, x, y, threat = trained(*MODELS[name])
    with under_attack(model):
        classifier = Classifier(model)
        right = classifier.predictions(x) == y
        given = classifier, x[right], y[right], threat
        counts = {kind: survivors(kind, *given) for kind in RIVALS}
        rounds = {f"{kind}, {n}": count[n - 1] for kind, count in counts.items() for n in (1, 3, ROUNDS)}
        return {"correct": int(right.sum()), "APGD": len(left(*given, 0, 2))} | rounds


def outside(effort: str) -> dict[str, Any]:
    """What two AutoAttacks with other seeds break at eps 0.3 of what an evaluation has left."""
    model, x, y, threat = trained(*MODELS["CNN, pgd, 0.3"])
    record = evaluate(model, x, y, threat, quick=effort == "quick", prove=0)
    rows = torch.tensor([i for i, by in enumerate(record.threats[0].broken_by) if by is None])
    found = {"samples": record.samples, "left": len(rows), "rounds": max(a.round for a in record.attacks),
             "reasons": {c.name: c.verdict for c in record.checks if c.verdict != "pass"}}  # fmt: skip
    with under_attack(model):
        for seed in (1, 2):
            rows = rows[left(Classifier(model), x[rows], y[rows], threat, seed)]
    return found | {"left by AutoAttacks": len(rows)}


PARTS: dict[str, Callable[[], dict[str, Callable[[], Any]]]] = {
    "script": lambda: {name: partial(script, name) for name in RULES},
    "rivals": lambda: {name: partial(contest, name) for name in MODELS},
    "outside": lambda: {effort: partial(outside, effort) for effort in ("full", "quick")},
}


def main(parts: list[str]) -> None:
    torch.set_num_threads(1)
    for part in parts or PARTS:
        keep(results("evaluation") / f"{part}.json", PARTS[part]())


if __name__ == "__main__":
    main(sys.argv[1:])
