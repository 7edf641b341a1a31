"""The two frontiers of a comparison: robust against clean accuracy, robust accuracy against training time."""

import io
from collections.abc import Callable
from pathlib import Path

from holomorph._utils.io import write_atomically
from holomorph.records.comparison import ComparisonRecord, RuleResult


def frontiers(record: ComparisonRecord, folder: str | Path) -> tuple[Path, Path]:
    """Draw both into ``frontier-accuracy.svg`` and ``frontier-cost.svg`` and return their paths.

    A rule on the line is beaten by no other in both coordinates at once; bars are 95 % intervals.
    """
    last = record.quantities[-1]
    accuracy = _draw(
        record,
        Path(folder) / "frontier-accuracy.svg",
        lambda rule: 100 * rule.accuracies["clean"].value,
        "clean accuracy, %",
        more_is_better=True,
    )
    cost = _draw(
        record,
        Path(folder) / "frontier-cost.svg",
        lambda rule: rule.seconds,
        f"seconds of training ({last}, {record.budget} each)",
        more_is_better=False,
    )
    return accuracy, cost


def frontier(points: list[tuple[float, float]], *, more_is_better: bool) -> list[tuple[float, float]]:
    """The points beaten by no other: larger second coordinate, and larger (or smaller) first one.

    >>> frontier([(1.0, 1.0), (2.0, 0.5), (1.5, 0.4)], more_is_better=True)
    [(1.0, 1.0), (2.0, 0.5)]
    """
    kept: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: (-p[0] if more_is_better else p[0], -p[1])):
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return sorted(kept)


def _draw(
    record: ComparisonRecord, path: Path, place: Callable[[RuleResult], float], label: str, *, more_is_better: bool
) -> Path:
    from matplotlib.figure import Figure

    last = record.quantities[-1]
    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axes = figure.subplots()
    points = [(place(rule), 100 * rule.accuracies[last].value) for rule in record.rules]
    for rule, (x, y) in zip(record.rules, points, strict=True):
        interval = rule.accuracies[last]
        axes.errorbar(
            x, y, yerr=[[y - 100 * interval.low], [100 * interval.high - y]], fmt="o", markersize=5, capsize=2
        )
        axes.annotate(rule.text, (x, y), textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.margins(x=0.2)  # room for the names
    line = frontier(points, more_is_better=more_is_better)
    axes.plot(*zip(*line, strict=True), color="0.6", linewidth=1, zorder=0)
    axes.set(xlabel=label, ylabel=f"robust accuracy, % ({last})")
    if not more_is_better:
        axes.set_xscale("log")
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    write_atomically(path, stream.getvalue())
    return path
