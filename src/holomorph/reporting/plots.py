"""The report's plots: plain numbers in, a :class:`~holomorph.reporting.images.Picture` out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from holomorph.records.base import Interval
from holomorph.reporting.images import BASELINE, INK, MODEL, QUIET, Picture, canvas
from holomorph.reporting.words import norm_name, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from holomorph.records.evaluation import Curve

#: Names of the two models in every legend.
ROLES = ("this model", "undefended baseline")
_COLOURS = dict(zip(ROLES, (MODEL, BASELINE), strict=True))
_DASHES = dict(zip(ROLES, ("-", (0, (4, 2))), strict=True))


def accuracy_against_eps(
    curves: Mapping[str, Curve],
    marks: Mapping[str, Sequence[tuple[float, Interval]]],
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
            axes.fill_between(model.eps, proved, model.accuracy, color=MODEL, alpha=0.15, linewidth=0)
            axes.plot(model.eps, proved, color=MODEL, linewidth=1, label="proved")
        for role, points in marks.items():
            for eps, interval in points:
                reach = [[interval.value - interval.low], [interval.high - interval.value]]
                axes.errorbar(eps, interval.value, yerr=reach, fmt="o", color=_COLOURS[role], markersize=5, capsize=3)
        axes.set(xlabel=f"size of the perturbation, {norm_name(norm)}", ylabel="accuracy", ylim=(-0.03, 1.03))
        axes.set_xlim(left=0)
        _percent_axis(axes)
        axes.legend(loc="best")
        alt = "Accuracy against the size of the perturbation. " + " ".join(
            f"{role}: {percent(interval.value)} at {eps:g}."
            for role, points in marks.items()
            for eps, interval in points
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


def energies(values: Mapping[str, Sequence[tuple[str, Interval]]]) -> Picture:
    """Dirichlet energies with their intervals, one row for each observable and place, on a logarithmic axis."""
    rows = [name for name, _ in next(iter(values.values()))]
    with canvas(height=0.95 + 0.34 * len(rows)) as plot:
        axes = plot.axes
        for role, entries in values.items():
            shift = 0.13 if role == ROLES[1] else -0.13
            for row, (_, interval) in enumerate(entries):
                if interval.value > 0:
                    reach = [[interval.value - interval.low], [interval.high - interval.value]]
                    axes.errorbar(
                        interval.value,
                        row + shift if len(values) > 1 else row,
                        xerr=reach,
                        fmt="o" if role == ROLES[0] else "s",
                        color=_COLOURS[role],
                        markersize=4,
                        capsize=3,
                        label=role if row == 0 else None,
                    )
        axes.set(xscale="log", xlabel=r"Dirichlet energy $\mathbb{E}\,|\nabla g|_2^2$", ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), rows)
        axes.minorticks_off()
        plot.figure.legend(loc="outside upper right", ncols=2)
        alt = "Dirichlet energies. " + " ".join(
            f"{role}, {name}: {i.value:.3g} ({i.low:.3g} to {i.high:.3g})."
            for role, entries in values.items()
            for name, i in entries
        )
        return plot.picture(alt, "With 95 % bootstrap intervals over the samples.")


def course(lines: Mapping[str, Sequence[float | None]], label: str, *, share: bool = False) -> Picture:
    """Something measured once an epoch, one line a model."""
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
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if share:
            _percent_axis(axes)
        if len(lines) > 1:
            axes.legend(loc="best")
        last = "; ".join(f"{role}: {values[-1]:.3g}" for role, values in lines.items() if values[-1] is not None)
        return plot.picture(f"{label} against the epoch. At the end: {last}.")


def class_bars(labels: Sequence[int], clean: Sequence[float], robust: Sequence[float]) -> Picture:
    """Clean and robust accuracy of each class."""
    with canvas(height=2.7) as plot:
        axes = plot.axes
        axes.bar(range(len(labels)), clean, color=MODEL, alpha=0.28, label="clean")
        axes.bar(range(len(labels)), robust, color=MODEL, label="robust")
        axes.set_xticks(range(len(labels)), [str(label) for label in labels])
        axes.grid(axis="x", visible=False)
        axes.set(xlabel="class", ylabel="accuracy", ylim=(0, 1))
        _percent_axis(axes)
        plot.figure.legend(loc="outside upper right", ncols=2)
        worst = int(np.argmin(robust))
        alt = (
            f"Clean and robust accuracy of each class. The weakest is {labels[worst]}, {percent(robust[worst])} robust."
        )
        return plot.picture(alt)


def _percent_axis(axes: Axes) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.tick_params(colors=QUIET, labelcolor=INK)
