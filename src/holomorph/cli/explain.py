"""``holomorph explain``: what a model's adversarial examples are, measured against the theory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holomorph._utils import progress
from holomorph._utils.interval import percent
from holomorph.cli.common import Force, OutFolder, Quiet, Resume, Seed, Trust, check_output, say
from holomorph.cli.evaluate import find
from holomorph.records.explanation import ExplanationRecord
from holomorph.threats import ThreatModel


def explain_command(
    model: Annotated[str, typer.Argument(help="A run folder, or package.module:factory.")],
    threat: Annotated[str | None, typer.Option("--threat", help="NORM:EPS; a run has its own by default.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights of a factory's model; they run no code.")] = None,
    data: Annotated[str, typer.Option("--data", help="digits, fashion-mnist or npz:PATH (a run has its own).")] = "",
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the IDX files of Fashion-MNIST.")] = None,
    box: Annotated[tuple[float, float] | None, typer.Option(help="LOW HIGH of the inputs of an npz file.")] = None,
    n: Annotated[int, typer.Option("--n", help="Test samples to look at.", min=1)] = 500,
    steps: Annotated[int, typer.Option(help="Steps of the attacks that the margins are compared with.", min=1)] = 100,
    thorough: Annotated[bool, typer.Option("--thorough", help="Compare with slower attacks as well.")] = False,
    only: Annotated[str, typer.Option(help="margins, energies, harmonicity, boundary: some, with commas.")] = "",
    out: OutFolder = None,
    force: Force = False,
    resume: Resume = False,
    trust: Trust = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Measure margins, energies, harmonicity and the boundary of a model beside what attacks really do."""
    from holomorph.data import as_input
    from holomorph.explanation.explain import explain

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
            name=found.name,
            data=splits.name,
        )
    for line in explanation_lines(record):
        say(line)
    say(f"The record lies at {folder / 'explanation.json'}")


def explanation_lines(record: ExplanationRecord) -> list[str]:
    """What was found, in a few lines."""
    lines = [f"Clean accuracy {percent(record.clean)} on {record.samples} samples."]
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
