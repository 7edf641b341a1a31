"""Write what the page quotes: ``summary.csv`` and the picture of robust against clean accuracy.

    python -m studies.frontier.page runs.csv cost.csv runs/*/found.json

The size of a mark in the picture is the CPU time of the training.
"""

import argparse
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt

HERE = Path(__file__).parent
PICTURE = HERE.parents[1] / "docs" / "pictures" / "rules_cifar10.svg"

#: The file that was read, what a line is about, and its figures.
Line = tuple[str, str, str]


def trainings(table: Path) -> Iterator[Line]:
    """Seconds, passes and accuracies of every training."""
    for row in csv.DictReader(table.open()):
        keys = ("epochs", "seconds", "passes", "clean", "apgd_ce", "robust", "linearity")
        yield "runs.csv", f"{row['name']} | {row['rule']}", "; ".join(f"{key}={row[key]}" for key in keys)


def costs(table: Path) -> Iterator[Line]:
    """Counted and measured cost of every rule, a line for each network."""
    found: dict[str, list[str]] = {}
    for row in csv.DictReader(table.open()):
        figures = (f"{row['rule']} | {key}={row[key]}" for key in ("counted", "measured", "ratio"))
        found.setdefault(row["network"], []).extend(figures)
    yield from (("cost.csv", network, "; ".join(figures)) for network, figures in found.items())


def long_runs(path: Path) -> Iterator[Line]:
    """The course of a long training, and what the attacks left."""
    found = json.loads(path.read_text())
    attacked = "; ".join(f"after {name}={value}" for name, value in found["attacked"].items())
    course = " ".join(f"{value:.3f}" for value in found["epoch_robust"])
    facts = f"seconds={found['seconds']}; segments={found['segments'] or 0}; epoch_robust={course}"
    yield path.parent.name, found["rule"], f"{attacked}; {facts}"


def draw(table: Path) -> None:
    """Robust against clean accuracy; the area of a mark is the time."""
    rows = [row for row in csv.DictReader(table.open()) if row["threat"] == "inf:8/255"]
    figure, axes = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    for rule in dict.fromkeys(row["rule"] for row in rows):
        own = [row for row in rows if row["rule"] == rule]
        clean, robust = ([100 * float(row[key]) for row in own] for key in ("clean", "robust"))
        axes.scatter(clean, robust, s=[float(row["seconds"]) / 3 for row in own], alpha=0.7, label=rule)
    axes.set(xlabel="clean accuracy, %", ylabel="robust accuracy (APGD-CE and APGD-T), %")
    legend = axes.legend(frameon=False, fontsize="small")
    for handle in legend.legend_handles:
        handle.set_sizes([40])
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    PICTURE.write_text(" ".join(drawn.getvalue().split()) + "\n")  # one line of tracked text


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
        writer.writerow(["file", "path", "values"])
        writer.writerows(lines)
    draw(asked.runs)


if __name__ == "__main__":
    main()
