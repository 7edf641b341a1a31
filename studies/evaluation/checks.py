"""The evaluation's checks on trained models: four rules on the digits, CNNs on Fashion-MNIST, and the rogues' gallery.

Claim: on honest models no check fails, and where one warns the table says which. ``python -m studies.evaluation.checks
digits`` (about 3 minutes of one core) trains four MLPs; ``NAME=RUN`` takes a run folder with a small CNN, or a file of
its weights (about 10 minutes on 300 images, SAMPLES=n for others, QUICK=1 for the quick evaluation), or the evaluation
that a folder already holds; ``rogues`` runs the gallery of the tests (a minute). What is in
``checks.json`` is not run again; a killed row goes on where it was. ``--table`` prints the tables.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from holomorph._utils.io import write_atomically
from holomorph.data import Splits, load_data
from holomorph.evaluation.evaluate import evaluate
from holomorph.records.evaluation import EvaluationRecord
from holomorph.threats import ThreatModel
from studies.common import network as small_cnn
from studies.evaluation import crosscheck
from studies.kept import RUNS, results

THREAT = ThreatModel("inf", 0.1)
TARGET = results("evaluation") / "checks.json"
RULES = ("plain", "pgd", "nfgsm", "dirichlet")
DIGITS, FASHION = 100, int(os.environ.get("SAMPLES", "300"))
#: A row of the quick evaluation, where there is no time for the full one; the table says so.
QUICK = os.environ.get("QUICK") == "1"
#: The undefended network of Fashion-MNIST; ``holomorph run --data fashion-mnist`` makes it.
BASELINE = Path("runs/fashion/baseline.safetensors")


def row(record: EvaluationRecord) -> dict[str, Any]:
    """What the table needs of a record."""
    return {
        "data": record.data,
        "quick": record.quick,
        "samples": record.samples,
        "clean": record.clean,
        "robust": {str(result.threat): result.robust for result in record.threats},
        "baseline": None if record.baseline is None else record.baseline.robust,
        "seconds": record.seconds,
        "verdicts": {check.name: check.verdict for check in record.checks},
        "figures": {check.name: check.value for check in record.checks},
        "reasons": {check.name: check.reason for check in record.checks if check.verdict != "pass"},
    }


def evaluated(name: str, model: nn.Module, baseline: nn.Module, data: Splits, samples: int) -> EvaluationRecord:
    """The full evaluation with the baseline, resumable."""
    kept = RUNS / "checks" / name
    x, y = data.x_test[:samples], data.y_test[:samples]
    return evaluate(
        model, x, y, THREAT, baseline=baseline, quick=QUICK, batch_size=100, out=kept, resume=True, model_name=name,
        data_name=data.name,
    )  # fmt: skip


def digits(name: str) -> EvaluationRecord:
    """An MLP trained by the rule of this name, beside one trained plainly."""
    model, baseline = crosscheck.trained(name), crosscheck.trained("plain")
    return evaluated(f"digits {name}", model, baseline, load_data("digits"), DIGITS)


def fashion(name: str, folder: Path) -> EvaluationRecord:
    """The evaluation in a run folder, or a new one of its CNN; a file of weights is taken as it is."""
    if folder.is_dir() and (folder / "evaluation.json").is_file():
        return EvaluationRecord.load(folder / "evaluation.json")
    weights = folder / "model.safetensors" if folder.is_dir() else folder
    return evaluated(f"fashion-mnist {name}", network(weights), network(BASELINE), load_data("fashion-mnist"), FASHION)


def network(weights: Path) -> nn.Module:
    """The CNN of the studies with these weights."""
    model = small_cnn(0)
    model.load_state_dict(load_file(weights))
    return model.eval()


def rogues() -> dict[str, Any]:
    """The disguises of the tests, evaluated quickly: what fails, and what is left of the robustness they feign."""
    tests = Path(__file__).parents[2] / "tests"
    sys.path[:0] = [str(tests / "evaluation"), str(tests / "support")]
    import test_rogues as gallery

    import scenes

    scene = scenes.staged()
    few, labels = scene.x[: gallery.SAMPLES], scene.y[: gallery.SAMPLES]
    found = {"the honest network": evaluate(scene.honest, few, labels, THREAT, quick=True, baseline=scene.baseline)}
    for name, (rogue, _, _) in gallery.GALLERY.items():
        found[name] = evaluate(rogue(scene.honest), few, labels, THREAT, quick=True)
    wide, baseline = ThreatModel("inf", THREAT.eps, (0.0, 255.0)), gallery.WrongRange(scene.baseline)
    found["wrong range"] = evaluate(
        gallery.WrongRange(scene.honest), 255 * few, labels, wide, quick=True, baseline=baseline
    )
    return {name: rogue_row(record) for name, record in found.items()}


def rogue_row(record: EvaluationRecord) -> dict[str, Any]:
    """What the table of the gallery needs."""
    alone = [attack.accuracy for attack in record.attacks if attack.name == "apgd-ce"]
    failed = [f"{check.number} {check.name}" for check in record.failed]
    warned = [f"{check.number} {check.name} (warns)" for check in record.checks if check.verdict == "warn"]
    return {"fails": failed + warned, "clean": record.clean, "apgd_alone": alone[0] if alone else None,
            "robust": record.robust}  # fmt: skip


def rogue_table(rows: dict[str, Any]) -> str:
    """One line a disguise."""
    lines = ["| disguise | checks that fail | clean | APGD on the cross-entropy alone | robust, as reported |",
             "|---|---|---|---|---|"]  # fmt: skip
    for name, row in rows.items():
        alone = "none" if row["apgd_alone"] is None else f"{row['apgd_alone']:.2f}"
        lines.append(f"| {name} | {', '.join(row['fails']) or 'none'} | {row['clean']:.2f} | {alone} | "
                     f"{row['robust']:.2f} |")  # fmt: skip
    return "\n".join(lines)


def table(rows: dict[str, Any]) -> str:
    """One line a model."""
    lines = ["| model | samples | clean | robust | undefended baseline | passed | did not pass |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, found in rows.items():
        odd = "; ".join(f"{check} ({found['verdicts'][check]})" for check in found["reasons"])
        passed = sum(verdict == "pass" for verdict in found["verdicts"].values())
        robust = ", ".join(f"{100 * value:.1f}" for value in found["robust"].values())
        baseline = "" if found["baseline"] is None else f"{100 * found['baseline']:.1f}"
        quick = " (quick)" if found.get("quick") else ""
        lines.append(f"| {name}{quick} | {found['samples']} | {100 * found['clean']:.1f} | {robust} | {baseline} | "
                     f"{passed} of {len(found['verdicts'])} | {odd or 'none'} |")  # fmt: skip
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    kept: dict[str, Any] = json.loads(TARGET.read_text()) if TARGET.exists() else {"threat": str(THREAT), "rows": {}}
    rows = kept["rows"]
    for argument in arguments:
        if argument == "rogues":
            kept["rogues"] = rogues()
            save(kept)
            continue
        name, _, folder = argument.partition("=")
        jobs = {f"digits, {rule}": rule for rule in RULES} if argument == "digits" else {f"Fashion-MNIST, {name}": ""}
        for title, rule in jobs.items():
            if title not in rows or (rows[title].get("quick") and not QUICK):
                rows[title] = row(digits(rule) if rule else fashion(name, Path(folder)))
                save(kept)


def save(kept: dict[str, Any]) -> None:
    """Keep what is there."""
    write_atomically(TARGET, (json.dumps(kept, indent=1) + "\n").encode())


if __name__ == "__main__":
    if sys.argv[1:] == ["--table"]:
        kept = json.loads(TARGET.read_text())
        print(table(kept["rows"]), rogue_table(kept.get("rogues", {})), sep="\n\n")
    else:
        main(sys.argv[1:])
