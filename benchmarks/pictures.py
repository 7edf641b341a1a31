"""Draw the documentation's pictures from the measured figures in benchmarks/results.

python benchmarks/pictures.py
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from frontier import seeds, survivors
from holomorph.evaluation.intervals import wilson
from holomorph.report.images import MODEL, TWIN, Picture, canvas

HERE = Path(__file__).parent
PICTURES = HERE.parent / "docs" / "pictures"
COLUMNS = {"clean": "clean", "pgd40 inf:0.05": "l∞ 0.05", "pgd40 inf:0.1": "l∞ 0.1", "pgd40 2:1.5": "l₂ 1.5"}


def where_the_energy_is_measured() -> Picture:
    """Risk and energy at the samples or on the balls: four columns of accuracy, one mark a training."""
    rows = json.loads((HERE / "results" / "first_light.json").read_text())["rows"]
    with canvas(height=0.9 + 0.42 * len(rows)) as figure:
        axes = figure.axes
        for height, figures in enumerate(rows.values()):
            for column, (key, label) in enumerate(COLUMNS.items()):
                axes.plot(
                    100 * figures[key], height, marker="osD^"[column], linestyle="none", markersize=6,
                    color=TWIN if key == "clean" else MODEL, label=label if height == 0 else None,
                )  # fmt: skip
        axes.set_yticks(range(len(rows)), [name.replace(", ", ",\n") for name in rows])
        axes.set(xlabel="accuracy in percent", xlim=(-3, 103), ylim=(len(rows) - 0.5, -0.5))
        figure.figure.legend(loc="outside upper center", ncols=4, handletextpad=0.1, columnspacing=1.2)
        return figure.picture("Accuracy of each training, clean and under PGD.")


def frontier() -> Picture:
    """Robust against clean accuracy on Fashion-MNIST, a mark a training; its seeds pooled."""
    rows = json.loads((HERE / "results" / "frontier.json").read_text())["rows"]
    labels = [label for label in dict.fromkeys(name.rpartition(", seed ")[0] for name in rows) if label]
    marks = {
        "finite": ("o", MODEL),
        "finite, longer path": ("o", MODEL),
        "N-FGSM k=1": ("s", TWIN),
        "N-FGSM k=2": ("D", TWIN),
        "PGD-10": ("^", TWIN),
    }
    said = []
    with canvas() as figure:
        axes = figure.axes
        for label in labels:
            known = seeds(rows, label, ["inf:0.1"])
            rule, _, epochs = label.rpartition(", ")
            if rule not in marks or not known:
                continue
            alive = np.concatenate([survivors(facts, ["inf:0.1"]) for facts in known.values()])
            clean, robust = 100 * np.mean([facts["clean"] for facts in known.values()]), 100 * alive.mean()
            interval = wilson(int(alive.sum()), len(alive))
            reach = [[robust - 100 * interval.low], [100 * interval.high - robust]]
            passes = round(
                3 * rows[f"{label}, seed 0"]["passes_relative_to_plain"] * rows[f"{label}, seed 0"]["epochs"]
            )
            axes.errorbar(clean, robust, yerr=reach, fmt=marks[rule][0], color=marks[rule][1], capsize=2)
            axes.annotate(f"{rule}\n{epochs}, {passes} passes", (clean, robust), textcoords="offset points",
                          xytext=(6, -3), fontsize=6)  # fmt: skip
            said.append(f"{label}: {clean:.1f} clean, {robust:.1f} robust, {passes} passes")
        axes.margins(x=0.4)
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
