"""``holomorph explain``: what a model's adversarial examples are, measured against the theory."""

from typing import Annotated

import typer

from holomorph._utils import progress
from holomorph._utils.interval import percent
from holomorph._utils.words import counted
from holomorph.cli import options
from holomorph.cli.common import check_output, either, say_found
from holomorph.cli.models import NamedModel
from holomorph.explanation.explain import EXPLANATION_PARTS, explain
from holomorph.records.explanation import ExplanationRecord
from holomorph.threats import ThreatModel


def explain_command(
    model: options.ModelOrRun,
    threat: Annotated[str | None, typer.Option("--threat", help="NORM:EPS; a run has its own by default.")] = None,
    weights: options.WeightsFile = None,
    data: options.DataName = "",
    data_dir: options.DataDir = None,
    box: options.BoxOption = None,
    n: Annotated[int, typer.Option("--n", help="Test samples to look at.", min=1)] = 500,
    steps: Annotated[int, typer.Option(help="Steps of the attacks that the margins are compared with.", min=1)] = 100,
    thorough: Annotated[bool, typer.Option("--thorough", help="Compare with slower attacks as well.")] = False,
    only: Annotated[str, typer.Option(help=f"{either(EXPLANATION_PARTS)}: some, with commas.")] = "",
    out: options.OutFolder = None,
    force: options.Force = False,
    resume: options.Resume = False,
    trust: options.Trust = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> None:
    """Measure margins, energies, harmonicity and the boundary of a model beside what attacks really do."""
    from holomorph.data import as_input

    named = NamedModel(model, weights, data, data_dir, box, trust)
    folder = named.folder(out, "explanation")
    check_output(folder)
    found = named.load()
    x, y = found.splits.part("test")
    known = found.splits.x_train[:5000]
    with progress.shown(enabled=not quiet):
        record = explain(
            found.model, x[:n], y[:n],
            threat=ThreatModel.parse(threat, found.splits.box) if threat else found.own_threats[0],
            reference=as_input(known, found.splits.box) if len(known) else None, steps=steps, thorough=thorough,
            only=[part.strip() for part in only.split(",")] if only else None, seed=seed, out=folder, resume=resume,
            force=force, model_name=found.name, data_name=found.splits.name,
        )  # fmt: skip
    say_found(explanation_lines(record), folder / "explanation.json")


def explanation_lines(record: ExplanationRecord) -> list[str]:
    """What was found, in a few lines."""
    lines = [f"Clean accuracy {percent(record.clean)} on {counted(record.samples, 'sample')}."]
    if record.margins is not None:
        lines += [
            f"Margins, {a.estimate}: rank correlation {a.spearman.value:.3f} with the attacks, curve within "
            f"{percent(a.curve_gap.value)}, {a.faster:.0f} times faster than FMN."
            for a in record.margins.agreements
        ]
    if record.energies is not None:
        lines.append(f"Spike index {record.energies.spike_index.value:.2f}: energy on the balls over the samples.")
    if record.harmonicity is not None:
        gap = record.harmonicity.mean_value_gap[-1].value
        lines.append(f"Mean-value gap {gap:.3f} of the slope: 0 for harmonic logits.")
    if record.boundary is not None:
        share, chance = record.boundary.tangent_share.value, record.boundary.chance
        lines.append(f"{percent(share)} of the boundary's normal lies along the samples ({percent(chance)} by chance).")
    return lines
