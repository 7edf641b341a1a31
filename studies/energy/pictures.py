"""Draw the documentation's pictures from the measured figures in summary.csv.

python -m studies.energy.pictures
"""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from holomorph._utils.statistics import proportion_interval
from holomorph.reporting.images import BASELINE, MODEL, Picture, canvas
from studies.summary import read

HERE = Path(__file__).parent
PICTURES = HERE.parents[1] / "docs" / "pictures"
COLUMNS = {"clean": "clean", "pgd40 inf:0.05": "l∞ 0.05", "pgd40 inf:0.1": "l∞ 0.1", "pgd40 2:1.5": "l₂ 1.5"}


def figures(file: str) -> dict[str, dict[str, float]]:
    """The figures of each row of a results file."""
    found: dict[str, dict[str, float]] = {}
    for name, path, value in read("energy"):
        kind, _, rest = path.partition(" | ")
        if name == file and kind == "rows":
            row, _, figure = rest.partition(" | ")
            found.setdefault(row, {})[figure] = float(value)
    return found


def where_the_energy_is_measured() -> Picture:
    """Risk and energy at the samples or on the balls: four columns of accuracy, one mark a training."""
    rows = figures("first_light")
    with canvas(height=0.9 + 0.42 * len(rows)) as figure:
        axes = figure.axes
        for height, found in enumerate(rows.values()):
            for column, (key, label) in enumerate(COLUMNS.items()):
                axes.plot(
                    100 * found[key], height, marker="osD^"[column], linestyle="none", markersize=6,
                    color=BASELINE if key == "clean" else MODEL, label=label if height == 0 else None,
                )  # fmt: skip
        axes.set_yticks(range(len(rows)), [name.replace(", ", ",\n") for name in rows])
        axes.set(xlabel="accuracy in percent", xlim=(-3, 103), ylim=(len(rows) - 0.5, -0.5))
        figure.figure.legend(loc="outside upper center", ncols=4, handletextpad=0.1, columnspacing=1.2)
        return figure.picture("Accuracy of each training, clean and under PGD.")


#: Rules in the picture of the frontier: mark, colour, and what the legend calls them.
MARKS = {
    "finite": ("o-", MODEL, "finite energy"),
    "finite, five segments for a third": ("v", MODEL, "five for a third"),
    "finite, five segments": ("D", MODEL, "five throughout"),
    "N-FGSM k=1": ("s-", BASELINE, "N-FGSM"),
    "PGD-10": ("^", BASELINE, "PGD-10"),
}


def frontier() -> Picture:
    """Robust against clean accuracy on Fashion-MNIST, a mark a training, its seeds pooled; the number is its passes."""
    trainings: dict[str, list[dict[str, float]]] = {}
    for name, facts in figures("attacks").items():
        label, _, seed = name.rpartition(", seed ")
        if seed and "apgd inf:0.1 | robust" in facts:
            trainings.setdefault(label, []).append(facts)
    found: dict[str, list[tuple[float, float, float, float, int]]] = {rule: [] for rule in MARKS}
    for label, seeds in trainings.items():
        rule = label.rpartition(", ")[0]
        if rule in MARKS:
            samples = [round(one["apgd inf:0.1 | samples"]) for one in seeds]
            alive = [round(one["apgd inf:0.1 | robust"] * n) for one, n in zip(seeds, samples, strict=True)]
            interval = proportion_interval(sum(alive), sum(samples))
            clean, passes = np.mean([one["clean"] for one in seeds]), seeds[0]["passes_relative_to_plain"]
            found[rule].append((clean, sum(alive) / sum(samples), interval.low, interval.high,
                                round(3 * passes * seeds[0]["epochs"])))  # fmt: skip
    said = []
    with canvas(height=3.6) as figure:
        axes = figure.axes
        for rule, trainings in found.items():
            mark, colour, name = MARKS[rule]
            clean, robust, low, high = 100 * np.array([one[:4] for one in sorted(trainings)]).T
            axes.errorbar(clean, robust, yerr=[robust - low, high - robust], fmt=mark, color=colour, label=name,
                          capsize=2, linewidth=0.8)  # fmt: skip
            for x, y, _, _, passes in trainings:
                place = {"o-": (-14, 4), "v": (6, 1)}.get(mark, (5, -10) if colour == BASELINE else (5, 4))
                axes.annotate(str(passes), (100 * x, 100 * y), textcoords="offset points", xytext=place, fontsize=7)
                said.append(f"{name}: {100 * x:.1f} clean, {100 * y:.1f} robust, {passes} passes")
        figure.figure.legend(loc="outside upper center", ncols=3, handletextpad=0.1, columnspacing=1.2)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set(xlabel="clean accuracy in percent", ylabel="left by APGD at l∞ 0.1, percent")
        return figure.picture("Robust against clean accuracy. " + "; ".join(said) + ".", "Bars: 95 % intervals.")


def save(picture: Picture, name: str) -> None:
    """Write a picture into the documentation."""
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / name).write_bytes(base64.b64decode(picture.source.partition(",")[2]))


if __name__ == "__main__":
    save(where_the_energy_is_measured(), "first_light.svg")
    save(frontier(), "frontier.svg")
