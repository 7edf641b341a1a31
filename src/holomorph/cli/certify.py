"""``holomorph certify``: prove what no attack can break."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holomorph._utils import progress
from holomorph._utils.interval import percent
from holomorph.cli.common import Force, OutFolder, Quiet, Resume, Seed, Trust, check_output, say
from holomorph.cli.evaluate import find
from holomorph.records.certificate import CertificateRecord
from holomorph.threats import ThreatModel


def certify_command(
    model: Annotated[str, typer.Argument(help="A run folder, or package.module:factory.")],
    threat: Annotated[
        str | None, typer.Option("--threat", help="NORM:EPS, several with commas; a run has its own by default.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="auto, exact, intervals, slopes, lines, branching or smoothing.")
    ] = "auto",
    weights: Annotated[Path | None, typer.Option(help="Weights of a factory's model; they run no code.")] = None,
    data: Annotated[str, typer.Option("--data", help="digits, fashion-mnist or npz:PATH (a run has its own).")] = "",
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the IDX files of Fashion-MNIST.")] = None,
    box: Annotated[tuple[float, float] | None, typer.Option(help="LOW HIGH of the inputs of an npz file.")] = None,
    n: Annotated[int, typer.Option("--n", help="Test samples to certify.", min=1)] = 1000,
    steps: Annotated[int, typer.Option(help="Radii tried for a sample, eps first.", min=1)] = 5,
    batch_size: Annotated[int, typer.Option(help="Samples at once.", min=1)] = 50,
    sigma: Annotated[float | None, typer.Option(help="Standard deviation of the noise of smoothing.")] = None,
    draws: Annotated[int, typer.Option(help="Noisy copies of a sample for smoothing.", min=1)] = 10_000,
    failure: Annotated[float, typer.Option(help="Probability of a wrong radius by smoothing.")] = 0.001,
    out: OutFolder = None,
    force: Force = False,
    resume: Resume = False,
    trust: Trust = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Prove, sample by sample, up to which radius no change of the input alters a correct prediction."""
    from holomorph.certification import certify

    folder = out or (Path(model) if Path(model).is_dir() else Path("certificate"))
    check_output(folder)
    found = find(model, weights=weights, data=data, data_dir=data_dir, box=box, trust=trust)
    x, y = found.splits.part("test")
    with progress.shown(enabled=not quiet):
        record = certify(
            found.model,
            x,
            y,
            threat=ThreatModel.parse_many(threat, found.splits.box) if threat else found.threats,
            method=method,  # type: ignore[arg-type]  # an unknown name is refused there
            n=min(n, len(y)),
            steps=steps,
            batch_size=batch_size,
            sigma=sigma,
            draws=draws,
            failure=failure,
            seed=seed,
            out=folder,
            resume=resume,
            force=force,
            name=found.name,
            data=found.splits.name,
        )
    for line in certificate_lines(record):
        say(line)
    say(f"The record lies at {folder / 'certificate.json'}")


def certificate_lines(record: CertificateRecord) -> list[str]:
    """What was proved, in a few lines."""
    lines = [f"Clean accuracy {percent(record.clean)} on {record.samples} samples."]
    for part in record.threats:
        low, high = percent(part.interval.low), percent(part.interval.high)
        lines.append(f"Proved at {part.threat}: {percent(part.proved)} ({low} to {high}).")
    if record.smoothing is not None:
        lines.append(
            f"This is about the classifier under noise of {record.smoothing.sigma:g}. It abstains on "
            f"{record.smoothing.abstained} samples; a radius is wrong with probability {record.smoothing.failure:g}."
        )
    return lines
