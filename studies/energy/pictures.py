"""Draw the documentation's first picture from the measured figures in summary.csv.

python -m studies.energy.pictures
"""

import base64
from pathlib import Path

from holomorph.reporting.images import BASELINE_COLOUR, MODEL_COLOUR, Picture, canvas
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
                    color=BASELINE_COLOUR if key == "clean" else MODEL_COLOUR, label=label if height == 0 else None,
                )  # fmt: skip
        axes.set_yticks(range(len(rows)), [name.replace(", ", ",\n") for name in rows])
        axes.set(xlabel="accuracy in percent", xlim=(-3, 103), ylim=(len(rows) - 0.5, -0.5))
        figure.figure.legend(loc="outside upper center", ncols=4, handletextpad=0.1, columnspacing=1.2)
        return figure.picture("Accuracy of each training, clean and under PGD.")


def save(picture: Picture, name: str) -> None:
    """Write a picture into the documentation."""
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / name).write_bytes(base64.b64decode(picture.source.partition(",")[2]))


if __name__ == "__main__":
    save(where_the_energy_is_measured(), "first_light.svg")
