"""The evaluation against AutoAttack's own script: same seed, same settings, five models trained on the digits.

Claims: the robust accuracy is never above the script's; where it is lower, the attack that won is named; the same
attacks take at most 1.1 times the script's time. Run: ``python -m studies.evaluation.crosscheck`` (about 10 minutes of
one core). Writes ``crosscheck.json``; what is in it already is not run again. Times are processor times,
script and evaluation by turns on the same few samples, so that what else the machine does hits both alike.
"""

import json
import time
from typing import Any

import torch
from pyautoattack import AutoAttack
from torch import nn

from holomorph._utils.io import write_atomically
from holomorph._utils.versions import versions
from holomorph.data import load_data
from holomorph.evaluation.evaluate import evaluate
from holomorph.nn.classifiers import build_classifier
from holomorph.rules import parse
from holomorph.threats import ThreatModel
from studies.kept import results

RULES = ("plain", "dirichlet", "pgd", "nfgsm", "trades")
THREAT = ThreatModel("inf", 0.1)
SAMPLES, EPOCHS = 200, 40
PIECES, PIECE = 4, 25
TARGET = results("evaluation") / "crosscheck.json"


def trained(name: str) -> nn.Module:
    data = load_data("digits")
    torch.manual_seed(0)
    model = build_classifier("mlp", tuple(data.shape), data.classes, width=128)
    rule = parse(name, THREAT)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for epoch in range(EPOCHS):
        rule.progress = min(1.0, 2 * epoch / EPOCHS)
        for rows in torch.randperm(len(data.x_train)).split(128):
            optimizer.zero_grad()
            rule(model, data.x_train[rows], data.y_train[rows]).backward()
            optimizer.step()
    return model.eval()


def compare(name: str, model: nn.Module) -> dict[str, Any]:
    data = load_data("digits")
    x, y = data.x_test[:SAMPLES], data.y_test[:SAMPLES]
    alone = float((model(_script(model, x, y)).argmax(1) == y).double().mean())
    record = evaluate(model, x, y, THREAT, seed=0, batch_size=250, checks=True)
    chain = [a for a in record.attacks if a.package.startswith("pyautoattack")]
    names = [name for name in record.threats[0].broken_by if name not in (None, "clean")]
    return {
        "model": name,
        "samples": SAMPLES,
        "clean": record.clean,
        "autoattack_alone": alone,
        "autoattack_within": chain[-1].accuracy,
        "robust": record.robust,
        "never_above": record.robust <= alone,
        "won": sorted({n for n in names if n not in {a.name for a in chain}}) if record.robust < alone else [],
        "checks": {c.name: c.verdict for c in record.checks if c.verdict != "pass"},
    }


def timed(model: nn.Module) -> dict[str, Any]:
    """Processor seconds of both on the same pieces of the data, by turns, each first as often as the other."""
    data = load_data("digits")
    seconds: dict[str, list[float]] = {"script": [], "same attacks": []}
    runs = {"script": _script, "same attacks": _chain_only}
    for piece in range(PIECES):
        part = slice(piece * PIECE, (piece + 1) * PIECE)
        for what in sorted(runs, reverse=piece % 2 == 1):
            clock = time.process_time()
            runs[what](model, data.x_test[part], data.y_test[part])
            seconds[what].append(time.process_time() - clock)
    ours, theirs = sum(seconds["same attacks"]), sum(seconds["script"])
    return {"piece": PIECE, "script_seconds": seconds["script"], "same_attacks_seconds": seconds["same attacks"],
            "ratio": ours / theirs}  # fmt: skip


def _script(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The adversarial inputs of AutoAttack's own script."""
    script = AutoAttack(model, norm="Linf", eps=THREAT.radius, seed=0, version="standard")
    adversarial, _ = script.run_standard_evaluation(x, y, batch_size=250)
    return adversarial


def _chain_only(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """AutoAttack's own attacks as the evaluation runs them."""
    from holomorph.attacks.autoattack import standard
    from holomorph.contract.classifier import Classifier
    from holomorph.contract.snapshot import under_attack
    from holomorph.evaluation.attacking import run_attack
    from holomorph.evaluation.results import Results
    from holomorph.evaluation.runner import Runner

    with under_attack(model):
        classifier = Classifier(model)
        results = Results(classifier, x, y, THREAT, classifier.predictions(x))
        for stage in standard(THREAT, 10):
            run_attack(stage, results, classifier, Runner())


def main() -> None:
    torch.set_num_threads(1)
    rows = json.loads(TARGET.read_text())["rows"] if TARGET.exists() else []
    for name in RULES:
        row = next((row for row in rows if row["model"] == name), None)
        if row is not None and "time" in row:
            continue
        model = trained(name)
        if row is None:
            rows.append(row := compare(name, model))
        row["time"] = timed(model)
        content = {"rows": rows, "versions": versions("pyautoattack", "foolbox")}
        write_atomically(TARGET, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
