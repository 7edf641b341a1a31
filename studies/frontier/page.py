"""Write what the page quotes: ``summary.csv`` and the picture of robust against clean accuracy.

    python -m studies.frontier.page runs.csv cost.csv runs/*/found.json

The size of a mark in the picture is the CPU time of the training.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt

HERE = Path(__file__).parent
PICTURE = HERE.parents[1] / "docs" / "pictures" / "rules_cifar10.svg"

Line = tuple[str, str, float]


def trainings(table: Path) -> Iterator[Line]:
    """Seconds, passes and accuracies of every training."""
    for row in csv.DictReader(table.open()):
        for key in ("epochs", "seconds", "passes", "clean", "apgd_ce", "robust"):
            yield "runs.csv", f"{row['name']} | {row['rule']} | {key}", float(row[key])


def costs(table: Path) -> Iterator[Line]:
    """Counted and measured cost of every rule on every network."""
    for row in csv.DictReader(table.open()):
        for key in ("counted", "measured", "ratio"):
            yield "cost.csv", f"{row['network']} | {row['rule']} | {key}", float(row[key])


def long_runs(path: Path) -> Iterator[Line]:
    """The course of a long training, and what the attacks left."""
    found = json.loads(path.read_text())
    for name, value in found["attacked"].items():
        yield path.parent.name, f"{found['rule']} | after {name}", value
    yield path.parent.name, f"{found['rule']} | seconds", found["seconds"]
    yield path.parent.name, f"{found['rule']} | segments at the end", float(found["segments"] or 0)
    for number, value in enumerate(found["epoch_robust"], 1):
        yield path.parent.name, f"{found['rule']} | epoch {number} | robust validation accuracy", value


def draw(table: Path) -> None:
    """Robust against clean accuracy; the area of a mark is the time."""
    rows = list(csv.DictReader(table.open()))
    figure, axes = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    for rule in dict.fromkeys(row["rule"] for row in rows):
        own = [row for row in rows if row["rule"] == rule]
        clean, robust = ([100 * float(row[key]) for row in own] for key in ("clean", "robust"))
        axes.scatter(clean, robust, s=[float(row["seconds"]) / 3 for row in own], alpha=0.7, label=rule)
    axes.set(xlabel="clean accuracy, %", ylabel="robust accuracy (APGD-CE and APGD-T), %")
    legend = axes.legend(frameon=False, fontsize="small")
    for handle in legend.legend_handles:
        handle.set_sizes([40])
    figure.savefig(PICTURE, metadata={"Date": None})


def main() -> None:
    """Read what was measured and write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("costs", type=Path)
    parser.add_argument("long", type=Path, nargs="*")
    asked = parser.parse_args()
    lines = [*trainings(asked.runs), *costs(asked.costs), *(line for path in asked.long for line in long_runs(path))]
    with (HERE / "summary.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "figure", "value"])
        writer.writerows(lines)
    draw(asked.runs)


if __name__ == "__main__":
    main()
