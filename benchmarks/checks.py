"""The evaluation's checks on trained models: four rules on the digits, and run folders on Fashion-MNIST.

Claim: on honest models no check fails, and where one warns the table says which. ``python benchmarks/checks.py
digits`` (about 3 minutes of one core) trains four MLPs; ``python benchmarks/checks.py NAME=RUN ...`` takes run
folders with a small CNN (about 10 minutes each on 300 images), or the evaluation that a folder already holds. Rows that
are in ``benchmarks/results/checks.json`` are not run again; a killed row goes on where it was. ``--table`` prints the
table.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from holomorph.data import Splits, load
from holomorph.evaluation.evaluate import evaluate
from holomorph.records.evaluation import EvaluationRecord
from holomorph.types import ThreatModel, write_atomically

import common  # isort: skip
import crosscheck  # isort: skip

THREAT = ThreatModel("inf", 0.1)
TARGET = common.RESULTS / "checks.json"
RULES = ("plain", "pgd", "nfgsm", "dirichlet")
DIGITS, FASHION = 100, int(os.environ.get("SAMPLES", "300"))
#: The undefended network of Fashion-MNIST; ``holomorph run --data fashion-mnist`` makes it.
TWIN = Path("runs/fashion/twin.safetensors")


def row(record: EvaluationRecord) -> dict[str, Any]:
    """What the table needs of a record."""
    return {
        "data": record.data,
        "samples": record.samples,
        "clean": record.clean,
        "robust": {str(result.threat): result.robust for result in record.threats},
        "twin": None if record.twin is None else record.twin.robust,
        "seconds": record.seconds,
        "verdicts": {check.name: check.verdict for check in record.checks},
        "figures": {check.name: check.figure for check in record.checks},
        "reasons": {check.name: check.reason for check in record.checks if check.verdict != "pass"},
    }


def evaluated(name: str, model: nn.Module, twin: nn.Module, data: Splits, samples: int) -> EvaluationRecord:
    """The full evaluation with the twin, resumable."""
    kept = common.RUNS / "checks" / name
    x, y = data.x_test[:samples], data.y_test[:samples]
    return evaluate(model, x, y, THREAT, twin=twin, batch_size=100, resume=kept, name=name, data=data.name)


def digits(name: str) -> EvaluationRecord:
    """An MLP trained by the rule of this name, beside one trained plainly."""
    model, twin = crosscheck.trained(name), crosscheck.trained("plain")
    return evaluated(f"digits {name}", model, twin, load("digits"), DIGITS)


def fashion(name: str, folder: Path) -> EvaluationRecord:
    """The evaluation in a run folder, or a new one of its CNN; a file of weights is taken as it is."""
    if folder.is_dir() and (folder / "evaluation.json").is_file():
        return EvaluationRecord.load(folder / "evaluation.json")
    weights = folder / "model.safetensors" if folder.is_dir() else folder
    return evaluated(f"fashion-mnist {name}", network(weights), network(TWIN), load("fashion-mnist"), FASHION)


def network(weights: Path) -> nn.Module:
    """The CNN of the benchmarks with these weights."""
    model = common.network(0)
    model.load_state_dict(load_file(weights))
    return model.eval()


def table(rows: dict[str, Any]) -> str:
    """One line a model."""
    lines = ["| model | samples | clean | robust | undefended twin | passed | did not pass |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, found in rows.items():
        odd = "; ".join(f"{check} ({found['verdicts'][check]})" for check in found["reasons"])
        passed = sum(verdict == "pass" for verdict in found["verdicts"].values())
        robust = ", ".join(f"{100 * value:.1f}" for value in found["robust"].values())
        twin = "" if found["twin"] is None else f"{100 * found['twin']:.1f}"
        lines.append(f"| {name} | {found['samples']} | {100 * found['clean']:.1f} | {robust} | {twin} | "
                     f"{passed} of {len(found['verdicts'])} | {odd or 'none'} |")  # fmt: skip
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    rows: dict[str, Any] = json.loads(TARGET.read_text())["rows"] if TARGET.exists() else {}
    for argument in arguments:
        name, _, folder = argument.partition("=")
        jobs = {f"digits, {rule}": rule for rule in RULES} if argument == "digits" else {f"Fashion-MNIST, {name}": ""}
        for title, rule in jobs.items():
            if title not in rows:
                rows[title] = row(digits(rule) if rule else fashion(name, Path(folder)))
                write_atomically(TARGET, (json.dumps({"threat": str(THREAT), "rows": rows}, indent=1) + "\n").encode())


if __name__ == "__main__":
    if sys.argv[1:] == ["--table"]:
        print(table(json.loads(TARGET.read_text())["rows"]))
    else:
        main(sys.argv[1:])
