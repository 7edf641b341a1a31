"""The plots of the report's explanation: margins against attacks, energies, gaps, transfer matrices."""

import math
from collections.abc import Sequence

import numpy as np

from holomorph.records.explanation import Boundary, Energies, Gap, Harmonicity, Margins
from holomorph.records.transfer import Matrix, TransferRecord
from holomorph.reporting.images import BASELINE_COLOUR, INK, MODEL_COLOUR, QUIET, Picture, canvas
from holomorph.reporting.words import in_plot, norm_name, percentage


def margin_scatter(margins: Margins) -> Picture:
    """Estimated against found distance of each sample, on logarithmic axes."""
    found = np.array(margins.found)
    right = (found > 0) & np.isfinite(found)
    with canvas(height=3.6) as plot:
        axes = plot.axes
        ends = (
            np.quantile(found[right], 0.02) / 1.3,
            found[right].max() * 1.3,
        )  # a few lie on the boundary all but exactly
        axes.plot(ends, ends, color=QUIET, linewidth=1)
        best = margins.thorough or margins.analytic
        estimates = (
            ("first order", margins.first_order, BASELINE_COLOUR),
            (margins.agreements[-1].estimate, best, MODEL_COLOUR),
        )
        for name, values, colour in estimates:
            axes.scatter(found[right], np.array(values)[right], s=9, color=colour, alpha=0.55, label=name, linewidths=0)
        axes.set(
            xscale="log",
            yscale="log",
            xlim=ends,
            xlabel="smallest perturbation found",
            ylabel="margin predicted",
            ylim=(ends[0], 4 * ends[1]),
        )
        axes.minorticks_off()
        axes.legend(loc="best")
        said = "; ".join(f"{a.estimate}: rank correlation {a.spearman.value:.3f}" for a in margins.agreements)
        return plot.picture(
            f"Predicted margin against the smallest perturbation found, in {norm_name(margins.threat.norm)}. {said}.",
            "Each dot is a sample; on the grey line prediction and attack agree.",
        )


def margin_curves(margins: Margins) -> Picture:
    """The accuracy under attack against eps: attacked and predicted."""
    with canvas() as plot:
        axes = plot.axes
        axes.plot(margins.eps, margins.attacked_accuracy, color=INK, label="attacked")
        best = margins.thorough_accuracy or margins.analytic_accuracy
        name = margins.agreements[-1].estimate
        axes.plot(margins.eps, best, color=MODEL_COLOUR, linestyle=(0, (4, 2)), label=name)
        axes.plot(margins.eps, margins.first_order_accuracy, color=BASELINE_COLOUR, linestyle=":", label="first order")
        axes.set(xlabel=f"size of the perturbation, {norm_name(margins.threat.norm)}", ylabel="accuracy", ylim=(0, 1))
        axes.set_xlim(left=0)
        axes.legend(loc="best")
        said = "; ".join(f"{a.estimate} within {percentage(a.curve_gap.value)}" for a in margins.agreements)
        return plot.picture(f"Accuracy against eps, attacked and predicted: {said}.", f"Largest gap: {said}.")


def energy_bars(energies: Energies) -> Picture:
    """The energy on samples, balls and segments, with intervals."""
    with canvas(height=2.2) as plot:
        axes = plot.axes
        values = [place.energy.value for place in energies.places]
        energies_of = [place.energy for place in energies.places]
        bars = [[e.value - e.low for e in energies_of], [e.high - e.value for e in energies_of]]
        names = [place.where for place in energies.places]
        axes.barh(names, values, xerr=bars, color=MODEL_COLOUR, alpha=0.8, capsize=3)
        axes.invert_yaxis()
        axes.set_xlabel("Dirichlet energy of the probabilities")
        said = "; ".join(f"{p.where} {p.energy.value:.3g}" for p in energies.places)
        return plot.picture(f"Dirichlet energy by place: {said}.", f"{said}.")


def gap_against_radius(harmonicity: Harmonicity) -> Picture:
    """The mean-value gap against the sphere's radius."""
    with canvas(height=2.6) as plot:
        axes = plot.axes
        values = [g.value for g in harmonicity.mean_value_gap]
        axes.plot(harmonicity.radii, values, "o-", color=MODEL_COLOUR)
        axes.axhline(0, color=QUIET, linewidth=1)
        axes.set(xlabel="radius of the sphere (Euclidean)", ylabel="mean-value gap / slope")
        return plot.picture(
            "Mean-value gap against radius: " + ", ".join(f"{v:.3g}" for v in values) + ".",
            "A harmonic function stays on the grey line.",
        )


def normal_share(boundary: Boundary) -> Picture:
    """The share of the boundary's normal along the samples beside that of a random direction."""
    share = boundary.tangent_share
    with canvas(height=1.6) as plot:
        axes = plot.axes
        bars = [[share.value - share.low, 0], [share.high - share.value, 0]]
        axes.barh(["this boundary", "a random one"], [share.value, boundary.chance], xerr=bars, alpha=0.8,
                  color=[MODEL_COLOUR, QUIET], capsize=3)  # fmt: skip
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="share of the normal in the plane of the neighbours")
        said = f"{percentage(share.value)} ({percentage(share.low)} to {percentage(share.high)})"
        return plot.picture(
            f"Share of the boundary's normal along the samples: {said}, by chance {percentage(boundary.chance)}.",
            "0: the boundary runs along the samples; 1: it cuts straight across them.",
        )


def gaps_against_size(gaps: Sequence[Gap]) -> Picture:
    """Pointwise and uniform gaps between independent trainings against the number of training samples."""
    lines = {"around the samples": [g.uniform.value for g in gaps], "at the samples": [g.pointwise.value for g in gaps]}
    return _against_size(gaps, lines, "distance between two trainings")


def generalisation_against_size(gaps: Sequence[Gap]) -> Picture:
    """Accuracy on training minus test samples, under attack and clean, against the number of training samples."""
    lines = {"attacked": [g.robust_generalisation for g in gaps], "clean": [g.generalisation for g in gaps]}
    return _against_size(gaps, lines, "accuracy, training minus test")


def _against_size(gaps: Sequence[Gap], lines: dict[str, list[float]], label: str) -> Picture:
    """Two lines a rule: the first solid, the second dotted."""
    with canvas() as plot:
        axes = plot.axes
        rules = list(dict.fromkeys(g.rule for g in gaps))
        for rule in rules:
            rows = [k for k, g in enumerate(gaps) if g.rule == rule]
            colour = BASELINE_COLOUR if rule == "plain" else (MODEL_COLOUR, QUIET)[rules.index(rule) % 2]
            for (name, values), style in zip(lines.items(), ("o-", "o:"), strict=True):
                sizes, shown = [gaps[k].size for k in rows], [values[k] for k in rows]
                axes.plot(sizes, shown, style, color=colour, markersize=3, label=in_plot(f"{rule}, {name}"))
        axes.set(xscale="log", xlabel="training samples", ylabel=label)
        axes.set_ylim(bottom=min(0.0, *(v for values in lines.values() for v in values)))
        axes.minorticks_off()
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(rules), fontsize=6)
        said = "; ".join(
            f"{g.rule} {g.size}: " + ", ".join(f"{name} {values[k]:.2f}" for name, values in lines.items())
            for k, g in enumerate(gaps)
        )
        return plot.picture(f"{label.capitalize()} against training samples. {said}.")


def transfer_matrix(record: TransferRecord, matrix: Matrix, title: str) -> Picture:
    """A matrix of success rates: rows are sources, columns targets."""
    size = len(record.models)
    with canvas(height=1.4 + 0.42 * size) as plot:
        axes = plot.axes
        axes.imshow(np.array(matrix), vmin=0, vmax=1, cmap="Greys")
        axes.grid(visible=False)
        for i, row in enumerate(matrix):
            for j, value in enumerate(row):
                colour = "white" if value > 0.55 else "black"
                axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=7)
        names = [in_plot(name) for name in record.models]
        axes.set_xticks(range(size), names, rotation=45, ha="right", fontsize=7)
        axes.set_yticks(range(size), names, fontsize=7)
        axes.set(xlabel="tried on", ylabel="made on")
        worst = max((v for i, row in enumerate(matrix) for j, v in enumerate(row) if i != j), default=math.nan)
        return plot.picture(f"{title}. Largest between different models: {percentage(worst)}.", f"{title}, in percent.")
