"""What the weight of the energy does: clean accuracy and smallest perturbations against lambda, all else fixed.

Five splits, smallest perturbations of 50 test samples each, on digits 30.

Run ``python -m studies.holomorphic.energy_effect``, after compare.py: the other settings are those that it chose.
Kept in energy_effect.json; writes energy_effect.md and docs/pictures/energy_*.svg.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import numpy as np
import torch

from holomorph._utils.io import write_atomically
from holomorph.reporting.images import BASELINE_COLOUR, MODEL_COLOUR, Picture, canvas
from studies.energy.pictures import save
from studies.holomorphic.compare import KINDS, RESULTS, measure

SPLITS, ATTACKED = 5, {"moons": 50, "digits": 30}
SERIES = {
    "digits | machines | Fock, complexification": (0.0, 0.5, 2.0, 8.0, 32.0, 128.0),
    "moons | networks | holomorphic network, pairing": (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many")
    options, begin = parser.parse_args(), time.monotonic()
    torch.set_num_threads(1)
    path = RESULTS / "energy_effect.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    tuned = json.loads((RESULTS / "holomorphic.json").read_text())
    for series, weights in SERIES.items():
        name, kind, label = series.split(" | ")
        method = KINDS[kind](name == "moons")[label]
        for seed in range(SPLITS):
            for weight in weights:
                key = f"{series} | {weight:g} | {seed}"
                if key not in known and time.monotonic() - begin < 60 * options.minutes:
                    setting = tuned[f"{name} | {label}"]["chosen"] | {"weight": weight}
                    known[key] = measure(method, setting, name, seed, ATTACKED[name])
                    write_atomically(path, json.dumps(known, indent=0).encode())
    show(known)


def show(known: dict[str, Any]) -> None:
    """Write the table and the pictures of what has been measured."""
    rows = {
        series: [_row(known, series, weight) for weight in weights if f"{series} | {weight:g} | 0" in known]
        for series, weights in SERIES.items()
    }
    (RESULTS / "energy_effect.md").write_text(table(rows))
    for series, found in ((series, found) for series, found in rows.items() if found):
        save(picture(series, found), f"energy_{series.split()[0]}.svg")


def _row(known: dict[str, Any], series: str, weight: float) -> dict[str, float]:
    keys = [f"{series} | {weight:g} | {seed}" for seed in range(SPLITS)]
    found = [known[key] for key in keys if key in known]
    clean, medians = [100 * f["clean"] for f in found], [np.median(f["sizes"]) for f in found]
    row = {
        "weight": weight,
        "splits": len(found),
        "clean": np.mean(clean),
        "deviation": np.std(clean),
        "median": np.mean(medians),
    }
    row |= {"least": min(medians), "most": max(medians)}
    if "certified" in found[0]:
        row["certified"] = np.mean([np.median(f["certified"]) for f in found])
    return {key: float(value) for key, value in row.items()}


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Means over the splits."""
    lines = []
    for series, found in ((series, found) for series, found in rows.items() if found):
        name, _, label = series.split(" | ")
        lines += [
            f"{name}, {label}",
            "",
            "| lambda | splits | clean % | median l_2 (of each split) | median certified |",
        ]
        lines += ["|---|---|---|---|---|"]
        for r in found:
            sure = f"{r['certified']:.3f}" if "certified" in r else ""
            sizes = f"{r['median']:.3f} ({r['least']:.3f} to {r['most']:.3f})"
            lines.append(
                f"| {r['weight']:g} | {r['splits']:.0f} | {r['clean']:.1f} ± {r['deviation']:.1f} | {sizes} | {sure} |"
            )
        lines.append("")
    return "\n".join(lines)


def picture(series: str, rows: list[dict[str, float]]) -> Picture:
    """Accuracy and median perturbation against the weight, one axis each."""
    with canvas() as figure:
        axes, place = figure.axes, range(len(rows))
        axes.plot(place, [r["clean"] for r in rows], color=BASELINE_COLOUR, marker="o", label="clean accuracy")
        axes.set_xticks(place, [f"{r['weight']:g}" for r in rows])
        axes.set_xlabel("weight of the energy")
        axes.set_ylabel("clean accuracy, percent", color=BASELINE_COLOUR)
        other = axes.twinx()
        other.plot(place, [r["median"] for r in rows], color=MODEL_COLOUR, marker="s")
        other.fill_between(place, [r["least"] for r in rows], [r["most"] for r in rows], color=MODEL_COLOUR, alpha=0.15)
        other.set_ylabel("median l₂ perturbation", color=MODEL_COLOUR)
        other.grid(visible=False)
        return figure.picture(f"Accuracy and smallest perturbations against the weight: {series}.")


if __name__ == "__main__":
    main()
