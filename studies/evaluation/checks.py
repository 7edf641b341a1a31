"""The gallery of the tests, models that cheat: which checks each fails, and what is left of the robustness it feigns.

``python -m studies.evaluation.checks`` (about 3 minutes of one core) writes ``checks.json`` and prints the table.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from holomorph.evaluation.evaluate import evaluate
from holomorph.records.evaluation import EvaluationRecord
from holomorph.threats import ThreatModel
from studies.kept import results, save

THREAT = ThreatModel("inf", 0.1)


def rogues() -> dict[str, Any]:
    """The disguises of the tests, evaluated quickly."""
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
    return {name: row(record) for name, record in found.items()}


def row(record: EvaluationRecord) -> dict[str, Any]:
    """What the table of the gallery needs."""
    alone = [attack.accuracy for attack in record.attacks if attack.name == "apgd-ce"]
    failed = [f"{check.number} {check.name}" for check in record.failed]
    warned = [f"{check.number} {check.name} (warns)" for check in record.checks if check.verdict == "warn"]
    return {"fails": failed + warned, "clean": record.clean, "apgd_alone": alone[0] if alone else None,
            "robust": record.robust}  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    found = rogues()
    save(results("evaluation") / "checks.json", {"rogues": found})
    print("| disguise | checks that fail | clean | APGD alone | reported |", "|---|---|---|---|---|", sep="\n")
    for name, of in found.items():
        alone = "none" if of["apgd_alone"] is None else f"{of['apgd_alone']:.2f}"
        print(f"| {name} | {', '.join(of['fails']) or 'none'} | {of['clean']:.2f} | {alone} | {of['robust']:.2f} |")


if __name__ == "__main__":
    main()
