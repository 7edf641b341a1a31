"""The report's plots: plain numbers in, a :class:`~holomorph.reporting.images.Picture` out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from holomorph.records.base import Interval
from holomorph.reporting.images import BASELINE_COLOUR, INK, MODEL_COLOUR, QUIET, Picture, canvas
from holomorph.reporting.words import in_plot, norm_name, percentage, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from holomorph.records.evaluation import AccuracyCurve
    from holomorph.threats import ThreatModel

#: Names of the two models in every legend.
ROLES = ("this model", "undefended baseline")
_COLOURS = dict(zip(ROLES, (MODEL_COLOUR, BASELINE_COLOUR), strict=True))
_DASHES = dict(zip(ROLES, ("-", (0, (4, 2))), strict=True))


def accuracy_against_eps(
    curves: Mapping[str, AccuracyCurve],
    marks: Mapping[str, Sequence[tuple[ThreatModel, Interval]]],
    norm: str,
    proved: Sequence[float] = (),
) -> Picture:
    """Accuracy against the size of the perturbation, with the attacked accuracy and its interval at each eps.

    ``proved`` is the accuracy that was proved at each eps of the model's curve: the truth lies in the band between.
    """
    with canvas() as plot:
        axes = plot.axes
        for role, curve in curves.items():
            axes.plot(curve.eps, curve.accuracy, color=_COLOURS[role], linestyle=_DASHES[role], label=role)
        if proved:
            model = curves[ROLES[0]]
            axes.fill_between(model.eps, proved, model.accuracy, color=MODEL_COLOUR, alpha=0.15, linewidth=0)
            axes.plot(model.eps, proved, color=MODEL_COLOUR, linewidth=1, label="proved")
        for role, points in marks.items():
            for threat, interval in points:
                bars = [[interval.value - interval.low], [interval.high - interval.value]]
                axes.errorbar(
                    threat.radius, interval.value, yerr=bars, fmt="o", color=_COLOURS[role], markersize=5, capsize=3
                )
        threats = [threat for points in marks.values() for threat, _ in points]
        axes.set(ylabel="accuracy", ylim=(-0.03, 1.03), xlim=(0, curve_end(list(curves.values()), threats)))
        _size_axis(axes, threats, norm)
        _percent_axis(axes)
        axes.legend(loc="best")
        alt = "Accuracy against the size of the perturbation. " + " ".join(
            f"{role}: {percentage(interval.value)} at {size(threat.radius, threat)}."
            for role, points in marks.items()
            for threat, interval in points
        )
        return plot.picture(
            alt,
            "Lines: the smallest perturbation that any attack found for each sample, so an upper bound at every size. "
            "Dots: the attacks made at the stated size as well, with the 95 % interval."
            + (" The band below reaches down to what is proved: the truth lies inside it." if proved else ""),
        )


def gradient_histogram(norms: Mapping[str, Sequence[float]], dual: str) -> Picture:
    """Histogram of input-gradient norms on a logarithmic axis."""
    positive = np.array([v for values in norms.values() for v in values if v > 0])
    low, high = (positive.min(), positive.max()) if len(positive) else (0.1, 1.0)
    bins = np.geomspace(low, max(high, low * 1.01), 36).tolist()
    medians = {role: float(np.median(values)) for role, values in norms.items()}
    with canvas() as plot:
        axes = plot.axes
        for role, values in norms.items():
            clipped = np.clip(values, low, high)
            axes.hist(clipped, bins=bins, color=_COLOURS[role], alpha=0.28)
            axes.hist(clipped, bins=bins, color=_COLOURS[role], histtype="step", linewidth=1.3, label=role)
        axes.set(xscale="log", xlabel=f"$\\|\\nabla_x \\ell\\|_{{{dual}}}$ at the samples", ylabel="samples")
        axes.minorticks_off()
        axes.legend(loc="best")
        said = "; ".join(f"{role}: {value:.3g}" for role, value in medians.items())
        zeros = sum(v == 0 for values in norms.values() for v in values)
        note = f" {zeros} gradients are exactly zero and stand in the first bar." if zeros else ""
        return plot.picture(f"Histogram of input-gradient norms. Medians: {said}.", f"Medians: {said}.{note}")


def energy_intervals(values: Mapping[str, Sequence[tuple[str, Interval]]]) -> Picture:
    """Dirichlet energies with their intervals, one row for each observable and place, on a logarithmic axis."""
    rows = [name for name, _ in next(iter(values.values()))]
    with canvas(height=0.95 + 0.34 * len(rows)) as plot:
        axes = plot.axes
        for role, entries in values.items():
            shift = 0.13 if role == ROLES[1] else -0.13
            for row, (_, interval) in enumerate(entries):
                if interval.value > 0:
                    bars = [[interval.value - interval.low], [interval.high - interval.value]]
                    axes.errorbar(
                        interval.value,
                        row + shift if len(values) > 1 else row,
                        xerr=bars,
                        fmt="o" if role == ROLES[0] else "s",
                        color=_COLOURS[role],
                        markersize=4,
                        capsize=3,
                        label=role if row == 0 else None,
                    )
        axes.set(xscale="log", xlabel=r"Dirichlet energy $\mathbb{E}\,|\nabla g|_2^2$", ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), [in_plot(row) for row in rows])
        axes.minorticks_off()
        plot.figure.legend(loc="outside upper right", ncols=2)
        alt = "Dirichlet energies. " + " ".join(
            f"{role}, {name}: {i.value:.3g} ({i.low:.3g} to {i.high:.3g})."
            for role, entries in values.items()
            for name, i in entries
        )
        return plot.picture(alt, "With 95 % bootstrap intervals over the samples.")


def course(lines: Mapping[str, Sequence[float | None]], label: str, meaning: str, *, share: bool = False) -> Picture:
    """Something measured once an epoch, one line a model; ``meaning`` says what it is, the caption how it went."""
    from matplotlib.ticker import MaxNLocator

    with canvas(height=2.7) as plot:
        axes = plot.axes
        for role, values in lines.items():
            numbers = [math.nan if v is None else v for v in values]
            epochs = range(1, len(numbers) + 1)
            axes.plot(
                epochs, numbers, color=_COLOURS.get(role, INK), linestyle=_DASHES.get(role, "-"), label=role,
                marker="o" if len(numbers) < 12 else None, markersize=3.5,
            )  # fmt: skip
        axes.set(xlabel="epoch", ylabel=in_plot(label))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if share:
            _percent_axis(axes)
        if len(lines) > 1:
            axes.legend(loc="best")
        last = "; ".join(f"{role}: {values[-1]:.3g}" for role, values in lines.items() if values[-1] is not None)
        alt = f"{label} against the epoch. At the end: {last}."
        return plot.picture(alt, f"{meaning} {_went(next(iter(lines.values())), share=share)}".strip())


def _went(values: Sequence[float | None], *, share: bool) -> str:
    """Say in one sentence how a curve went."""
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return ""
    first, last = (percentage(v) if share else f"{v:.3g}" for v in (known[0], known[-1]))
    verb = "It stayed at" if first == last else f"It {'rose' if known[-1] > known[0] else 'fell'} from {first} to"
    return f"{verb} {last}."


def class_bars(names: Sequence[str], clean: Sequence[float], robust: Sequence[float]) -> Picture:
    """Clean and robust accuracy of each class."""
    with canvas(height=2.7) as plot:
        axes = plot.axes
        places = range(len(names))
        axes.bar(places, clean, color=MODEL_COLOUR, alpha=0.28, label="clean")
        axes.bar(places, robust, color=MODEL_COLOUR, label="robust")
        tilted = max(map(len, names)) * len(names) > 48  # letters that would overlap
        axes.set_xticks(
            places, [in_plot(n) for n in names], rotation=40 if tilted else 0, ha="right" if tilted else "center"
        )
        axes.grid(axis="x", visible=False)
        axes.set(xlabel="class", ylabel="accuracy", ylim=(0, 1))
        _percent_axis(axes)
        plot.figure.legend(loc="outside upper right", ncols=2)
        worst = int(np.argmin(robust))
        weakest = "Every class" if min(robust) == max(robust) else f"The weakest class, {names[worst]},"
        said = f"{weakest} has a robust accuracy of {percentage(robust[worst])}."
        return plot.picture(f"Clean and robust accuracy of each class. {said}", said)


def curve_end(curves: Sequence[AccuracyCurve], threats: Sequence[ThreatModel]) -> float:
    """Where the last curve has fallen, or ends; a little beyond the largest threat at least."""
    fallen = [next((e for e, a in zip(c.eps, c.accuracy, strict=True) if a <= 0), c.eps[-1]) for c in curves]
    return max([*fallen, *(1.2 * threat.radius for threat in threats)])


def _size_axis(axes: Axes, threats: Sequence[ThreatModel], norm: str) -> None:
    """Name the axis and its ticks in the unit in which the threat was asked for."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    asked = [str(threat.eps).partition("/")[2] for threat in threats]
    name = f"size of the perturbation, {norm_name(norm)}"
    if asked and asked[0] and len(set(asked)) == 1:
        unit = float(asked[0])
        axes.set_xticks([tick / unit for tick in MaxNLocator(6).tick_values(0, axes.get_xlim()[1] * unit)[:-1]])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * unit:.3g}"))
        name += f", in units of 1/{asked[0]}"
    axes.set_xlabel(name)


def _percent_axis(axes: Axes) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.tick_params(colors=QUIET, labelcolor=INK)
