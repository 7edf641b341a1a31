"""``holomorph transfer``: which runs' adversarial examples fool which others, and what the gradients predict."""

from pathlib import Path
from typing import Annotated

import typer

from holomorph._utils import progress
from holomorph._utils.interval import percent
from holomorph.cli import options
from holomorph.cli.common import check_output, say_found
from holomorph.errors import ConfigError
from holomorph.records.transfer import TransferRecord
from holomorph.threats import ThreatModel


def transfer_command(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders on the same data.")],
    threat: Annotated[str, typer.Option("--threat", help="NORM:EPS, several of one norm with commas.")] = "inf:0.05",
    n: Annotated[int, typer.Option("--n", help="Test samples.", min=1)] = 200,
    steps: Annotated[int, typer.Option(help="Steps of each attack.", min=1)] = 50,
    out: Annotated[Path, typer.Option(help="Folder for the record.")] = Path("transfer"),
    data_dir: options.DataDir = None,
    force: options.Force = False,
    resume: options.Resume = False,
    trust: options.Trust = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> None:
    """Make adversarial examples on each run, try them on each other, and score the gradients' prediction."""
    from holomorph.training.folder import RunFolder
    from holomorph.transferability.transfer import transfer

    check_output(out)
    folders = {str(path): RunFolder.open(path) for path in runs}
    kinds = {(folder.config.data, folder.config.shape) for folder in folders.values()}
    if len(kinds) > 1:
        raise ConfigError("The runs were trained on different data. Examples transfer between models of the same data.")
    splits = next(iter(folders.values())).config.load_data(data_dir)
    threats = ThreatModel.parse_many(threat, splits.box)
    if len({t.norm for t in threats}) > 1:
        raise ConfigError("Give threats of one norm; run the command once for each norm.")
    models = {name: folder.load_model(trusted=trust) for name, folder in folders.items()}
    x, y = splits.part("test")
    with progress.shown(enabled=not quiet):
        record = transfer(models, x[:n], y[:n], threat=threats[0], eps=[t.radius for t in threats], steps=steps,
                          seed=seed, out=out, resume=resume, force=force)  # fmt: skip
    say_found(transfer_lines(record), out / "transfer.json")


def transfer_lines(record: TransferRecord) -> list[str]:
    """What was found, in a few lines."""
    lines = []
    for attacked in record.attacked:
        pairs = [v for i, row in enumerate(attacked.success) for j, v in enumerate(row) if i != j]
        mean = percent(sum(pairs) / len(pairs))
        lines.append(
            f"{attacked.attack} at {attacked.eps:g}: {mean} of correct predictions fooled by another model's examples."
        )
    for score in record.scores:
        along = "the source's gradient" if score.step == "gradient" else "its own step"
        counted = ", samples the source has right" if score.counted == "right" else ""
        lines.append(
            f"Order {score.order} along {along} against {score.attack} at {score.eps:g}{counted}: "
            f"R^2 {score.r_squared.value:.2f}, centred {score.r_squared_centred.value:.2f}, "
            f"shuffled control {score.shuffled:.2f}."
        )
    if not record.scores:
        lines.append("The gradients' prediction is scored from four models on.")
    vacuous = sum(near.vacuous for near in record.parallelogram)
    lines.append(f"The parallelogram bound says nothing for {vacuous} of {len(record.parallelogram)} pairs.")
    return lines
