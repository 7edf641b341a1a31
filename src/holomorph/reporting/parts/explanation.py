"""What the theory says of this model, measured: one picture, one sentence, and what would have contradicted it."""

from collections.abc import Sequence
from typing import NamedTuple

from holomorph.records.base import Record
from holomorph.records.explanation import Boundary, Energies, ExplanationRecord, Gap, Harmonicity, Margins
from holomorph.records.transfer import TransferRecord
from holomorph.reporting import explanation_plots as plots
from holomorph.reporting.images import Picture
from holomorph.reporting.parts.base import Context, one
from holomorph.reporting.words import counted, percentage


class Claim(NamedTuple):
    """One claim."""

    title: str
    sentence: str
    contradiction: str
    pictures: Sequence[Picture]


def explanation_part(records: Sequence[Record]) -> Context:
    """List the claims for which there are measurements."""
    found, moved = one(records, ExplanationRecord), one(records, TransferRecord)
    items: list[Claim] = []
    if found is not None:
        parts = (
            found.margins and _margins(found.margins),
            found.energies and _energies(found.energies),
            found.harmonicity and _harmonicity(found.harmonicity),
            found.boundary and _boundary(found.boundary),
            _convergence(found.convergence) if found.convergence else None,
        )
        items += [item for item in parts if item]
    if moved is not None:
        items.append(_transfer(moved))
    return {"items": items} if items else None


def _margins(margins: Margins) -> Claim:
    first, quick, *more = margins.agreements
    said = [
        f"The slope at the sample alone estimates how far the decision boundary is. Its ranking of the samples agrees "
        f"with the attacks at a rank correlation of {first.spearman.value:.2f}, and the accuracy that it predicts is "
        f"at most {percentage(first.curve_gap.value)} off.",
        f"Five slopes on the way to the boundary reach {quick.spearman.value:.2f} and "
        f"{percentage(quick.curve_gap.value)}, and take {_times(quick.faster)} the time of the attack FMN.",
    ]
    if more:
        said.append(
            f"Twenty slopes for each of three classes reach {more[0].spearman.value:.2f} and "
            f"{percentage(more[0].curve_gap.value)}."
        )
    return Claim(
        "Can the slope predict the attack?",
        " ".join(said),
        "A rank correlation near 0, or a predicted curve far from the attacked one.",
        [plots.margin_scatter(margins), plots.margin_curves(margins)],
    )


def _times(faster: float) -> str:
    """How many times as long something takes that is so many times faster."""
    return percentage(1 / faster) + " of" if faster > 1 else f"{1 / faster:.1f} times"


def _energies(energies: Energies) -> Claim:
    index = energies.spike_index
    shape = (
        "steeper around the samples than on them" if index.low > 1 else "not steeper around the samples than on them"
    )
    return Claim(
        "Is the model flat only where it was trained?",
        f"The mean squared gradient around the samples, within the threat, is {index.value:.2f} times that at the "
        f"samples (95 % interval {index.low:.2f} to {index.high:.2f}). The model is {shape}. The steepest tenth of the "
        f"samples carries {percentage(energies.places[0].top_tenth)} of the energy.",
        "For a model with spikes or plateaus at its samples: an index near 1.",
        [plots.energy_bars(energies)],
    )


def _harmonicity(harmonicity: Harmonicity) -> Claim:
    return Claim(
        "Do the outputs behave like harmonic functions?",
        f"The mean of a logit over a sphere differs from its value at the centre by "
        f"{percentage(harmonicity.mean_value_gap[-1].value)} of what it changes along a radius; for a harmonic "
        f"function that is 0. Of the logits {percentage(harmonicity.maximum_violations)} are larger at the sample than "
        f"anywhere on the sphere around it, and {percentage(harmonicity.minimum_violations)} smaller, which harmonic "
        f"functions never are.",
        "For harmonic outputs: a gap that grows with the radius, or peaks at samples.",
        [plots.gap_against_radius(harmonicity)],
    )


def _boundary(boundary: Boundary) -> Claim:
    share, chance = boundary.tangent_share.value, boundary.chance
    how = "across" if share > 0.5 else "mostly along"
    return Claim(
        "Does the boundary cut across the data, or run along it?",
        f"{percentage(share)} of the boundary's normal lies in the plane of the neighbouring samples "
        f"({percentage(chance)} by chance): the boundary runs {how} the data. Its median distance from a sample is "
        f"{boundary.distance.value:.3g}. "
        f"Its median curvature is {boundary.mean_curvature.value:.2g}: that of a sphere of radius "
        f"{1 / max(abs(boundary.mean_curvature.value), 1e-9):.2g}.",
        "For a robust model: a share no larger than an undefended model's.",
        [plots.normal_share(boundary)],
    )


def _convergence(gaps: Sequence[Gap]) -> Claim:
    said = []
    for rule in dict.fromkeys(gap.rule for gap in gaps):
        first, *_, last = sorted((gap for gap in gaps if gap.rule == rule), key=lambda gap: gap.size)
        said.append(
            f"From {first.size} to {last.size} samples, two trainings by the rule {rule} come closer: at the samples "
            f"from {percentage(first.pointwise.value)} to {percentage(last.pointwise.value)}, around them from "
            f"{percentage(first.uniform.value)} to {percentage(last.uniform.value)}."
        )
    return Claim(
        "Do independent trainings agree around the samples, too?",
        f"{' '.join(said)} Where agreement comes at the samples and not around them, there are adversarial examples.",
        "For an undefended model: both lines fall together.",
        [plots.gaps_against_size(gaps), plots.generalisation_against_size(gaps)],
    )


def _transfer(record: TransferRecord) -> Claim:
    name, order, eps = "apgd", 2, min(a.eps for a in record.attacked)
    found = next((s for s in record.scores if (s.attack, s.order, s.eps) == (name, order, eps)), None)
    attacked = next(a for a in record.attacked if (a.attack, a.eps) == (name, eps))
    predicted = next(p for p in record.predicted if (p.order, p.eps) == (order, eps))
    score = "Too few models were compared to score the prediction (four are needed). "
    if found is not None:
        score = (
            f"From two derivatives of a model along another's gradient, the rise of its loss at size {eps:g} is "
            f"predicted with R² = {found.r_squared.value:.2f} (steps given to the wrong samples: "
            f"{found.shuffled:.2f}); once good sources and weak targets are set aside, "
            f"{found.r_squared_centred.value:.2f}. Who fools whom is ranked with a correlation of "
            f"{found.rank_success.value:.2f}. "
        )
    empty = sum(near.vacuous for near in record.parallelogram)
    return Claim(
        "Why do examples made on one model fool another?",
        f"{score}The theory's bound on the difference of two models says nothing for {empty} of "
        f"{counted(len(record.parallelogram), 'pair')}.",
        "A prediction no better than with the samples shuffled.",
        [
            plots.transfer_matrix(record, attacked.success, f"Measured ({name}, {eps:g})"),
            plots.transfer_matrix(record, predicted.success, f"Predicted (order {order})"),
        ],
    )
