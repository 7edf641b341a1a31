"""``holomorph explain``: what a model's adversarial examples are, measured against the theory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holomorph._utils import progress
from holomorph._utils.interval import percent
from holomorph._utils.words import counted
from holomorph.cli.common import (
    BoxOption,
    DataDir,
    DataName,
    Force,
    ModelOrRun,
    OutFolder,
    Quiet,
    Resume,
    Seed,
    Trust,
    WeightsFile,
    check_output,
    either,
    say,
)
from holomorph.cli.evaluate import find
from holomorph.explanation.explain import EXPLANATION_PARTS, explain
from holomorph.records.explanation import ExplanationRecord
from holomorph.threats import ThreatModel


def explain_command(
    model: ModelOrRun,
    threat: Annotated[str | None, typer.Option("--threat", help="NORM:EPS; a run has its own by default.")] = None,
    weights: WeightsFile = None,
    data: DataName = "",
    data_dir: DataDir = None,
    box: BoxOption = None,
    n: Annotated[int, typer.Option("--n", help="Test samples to look at.", min=1)] = 500,
    steps: Annotated[int, typer.Option(help="Steps of the attacks that the margins are compared with.", min=1)] = 100,
    thorough: Annotated[bool, typer.Option("--thorough", help="Compare with slower attacks as well.")] = False,
    only: Annotated[str, typer.Option(help=f"{either(EXPLANATION_PARTS)}: some, with commas.")] = "",
    out: OutFolder = None,
    force: Force = False,
    resume: Resume = False,
    trust: Trust = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Measure margins, energies, harmonicity and the boundary of a model beside what attacks really do."""
    from holomorph.data import as_input

    folder = out or (Path(model) if Path(model).is_dir() else Path("explanation"))
    check_output(folder)
    found = find(model, weights=weights, data=data, data_dir=data_dir, box=box, trust=trust)
    splits = found.splits
    with progress.shown(enabled=not quiet):
        record = explain(
            found.model,
            *(part[:n] for part in splits.part("test")),
            threat=ThreatModel.parse(threat, splits.box) if threat else found.threats[0],
            reference=as_input(splits.x_train[:5000], splits.box) if len(splits.x_train) else None,
            steps=steps,
            thorough=thorough,
            seed=seed,
            out=folder,
            resume=resume,
            force=force,
            only=[part.strip() for part in only.split(",")] if only else None,
            model_name=found.name,
            data_name=splits.name,
        )
    for line in explanation_lines(record):
        say(line)
    say(f"The record lies at {folder / 'explanation.json'}")


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
