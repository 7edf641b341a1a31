"""``holomorph certify``: prove what no attack can break."""

from typing import Annotated

import typer

from holomorph._utils import progress
from holomorph._utils.interval import percent
from holomorph._utils.words import counted
from holomorph.certification.certify import certify
from holomorph.certification.proofs import METHODS
from holomorph.cli import options
from holomorph.cli.common import check_output, either, say_found
from holomorph.cli.models import NamedModel
from holomorph.records.certificate import CertificateRecord


def certify_command(
    model: options.ModelOrRun,
    threat: options.RunThreats = None,
    method: Annotated[str, typer.Option(help=f"{either(METHODS)}.")] = "auto",
    weights: options.WeightsFile = None,
    data: options.DataName = "",
    data_dir: options.DataDir = None,
    box: options.BoxOption = None,
    n: Annotated[int, typer.Option("--n", help="Test samples to certify.", min=1)] = 1000,
    steps: Annotated[int, typer.Option(help="Radii tried for a sample, eps first.", min=1)] = 5,
    batch_size: options.BatchSize = 50,
    sigma: Annotated[float | None, typer.Option(help="Standard deviation of the noise of smoothing.")] = None,
    draws: Annotated[int, typer.Option(help="Noisy copies of a sample for smoothing.", min=1)] = 10_000,
    failure: Annotated[float, typer.Option(help="Probability of a wrong radius by smoothing.")] = 0.001,
    out: options.OutFolder = None,
    force: options.Force = False,
    resume: options.Resume = False,
    trust: options.Trust = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> None:
    """Prove, sample by sample, up to which radius no change of the input alters a correct prediction."""
    named = NamedModel(model, weights, data, data_dir, box, trust)
    folder = named.folder(out, "certificate")
    check_output(folder)
    found = named.load()
    x, y = found.splits.part("test")
    with progress.shown(enabled=not quiet):
        record = certify(
            found.model, x, y, threat=found.threats(threat), n=min(n, len(y)), steps=steps, batch_size=batch_size,
            method=method,  # type: ignore[arg-type]  # an unknown name is refused there
            sigma=sigma, draws=draws, failure=failure, seed=seed, out=folder, resume=resume, force=force,
            model_name=found.name, data_name=found.splits.name,
        )  # fmt: skip
    say_found(certificate_lines(record), folder / "certificate.json")


def certificate_lines(record: CertificateRecord) -> list[str]:
    """What was proved, in a few lines."""
    lines = [f"Clean accuracy {percent(record.clean)} on {counted(record.samples, 'sample')}."]
    for part in record.threats:
        low, high = percent(part.interval.low), percent(part.interval.high)
        lines.append(f"Proved at {part.threat}: {percent(part.proved)} ({low} to {high}).")
    if record.smoothing is not None:
        lines.append(
            f"This is about the classifier under noise of {record.smoothing.sigma:g}. It abstains on "
            f"{counted(record.smoothing.abstained, 'sample')}; a radius is wrong with probability "
            f"{record.smoothing.failure:g}."
        )
    return lines
