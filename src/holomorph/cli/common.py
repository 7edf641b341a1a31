"""What the commands share: the words they print and the options they repeat."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from holomorph._utils.io import refuse_odd
from holomorph.data.sources import source_names
from holomorph.errors import ConfigError
from holomorph.nn.classifiers import ACTIVATIONS, MODELS
from holomorph.nn.foreign import foreign_names
from holomorph.rules import RULES

#: Where a command speaks to a person; records and values go to files.
console = Console(stderr=True, highlight=False, soft_wrap=True)


def either(words: Iterable[str]) -> str:
    """Names to choose from, as a help text lists them.

    >>> either(["a"]), either(["a", "b", "c"])
    ('a', 'a, b or c')
    """
    *some, last = words
    return f"{', '.join(some)} or {last}" if some else last


# What can be chosen is read from the registries.
Threats = Annotated[
    str, typer.Option("--threat", help="NORM:EPS, several with commas: inf:8/255,2:0.5.", metavar="NORM:EPS")
]
RunThreats = Annotated[
    str | None, typer.Option("--threat", help="NORM:EPS, several with commas; a run has its own by default.")
]
Seed = Annotated[int, typer.Option("--seed", help="Feeds every random generator.", min=0, max=2**63 - 1)]
DataName = Annotated[str, typer.Option("--data", help=f"{either(source_names())}. A run has its own.")]
RuleText = Annotated[
    str, typer.Option(help=f"{either(RULES)}; settings follow in parentheses: NAME(setting=value,...).")
]
OneThreat = Annotated[str, typer.Option(help="NORM:EPS, for instance inf:8/255.", metavar="NORM:EPS")]
RunPath = Annotated[Path, typer.Option(help="Folder of the run.")]
ModelName = Annotated[
    str,
    typer.Option(
        help=f"auto, {either([*MODELS, *foreign_names(to_train=True)])}; settings follow a question mark: "
        "timm:resnet18?pretrained=yes."
    ),
]
ModelOrRun = Annotated[str, typer.Argument(help=f"A run folder, or a model: {either([*MODELS, *foreign_names()])}.")]
WeightsFile = Annotated[Path | None, typer.Option("--weights", help="Weights of a model; they run no code.")]
ActivationName = Annotated[str, typer.Option(help=f"{either(ACTIVATIONS)}: of a built-in model.")]
Epochs = Annotated[int, typer.Option(help="Passes over the data; 0 chooses by the data set.")]
BatchSize = Annotated[int, typer.Option(help="Samples at once.", min=1)]
WithBaseline = Annotated[bool, typer.Option("--baseline/--no-baseline", help="Also train an undefended baseline.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder with the files of Fashion-MNIST or CIFAR.")]
BoxOption = Annotated[tuple[float, float] | None, typer.Option(help="LOW HIGH of the inputs of an npz file.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what an earlier command of ours left in the folder.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a stopped command was.")]
OutFolder = Annotated[Path | None, typer.Option("--out", help="Folder for the record; a run's own by default.")]
Trust = Annotated[bool, typer.Option("--trust", help="Import the code that a run or a record names as its model.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


def check_output(out: Path, option: str = "--out", *, folder: bool = True) -> None:
    """Refuse, before any work, a path at which the file or the folder cannot be written."""
    if out.exists() and out.is_dir() != folder:
        found, wanted = ("file", "folder") if folder else ("folder", "file")
        raise ConfigError(f"{option} {out} is a {found}. Name a {wanted}.")
    if not folder:
        refuse_odd(out)
    above = next(parent for parent in out.absolute().parents if parent.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ConfigError(f"{option} {out} cannot be written: nothing can be added to {above}. Choose another place.")


def evaluation_file(path: Path) -> Path:
    """The evaluation that a path names: the file itself, or that of a run folder."""
    return path / "evaluation.json" if path.is_dir() else path


def say(text: str) -> None:
    """Print one line to standard error."""
    console.print(text, markup=False, emoji=False)


def sentence(error: Exception) -> str:
    """Put an error on one line."""
    return " ".join(str(error).split())


def parse_box(values: tuple[float, float] | None) -> tuple[float, float] | None:
    """Treat the option's empty value as none given."""
    return None if values is None or values == (0.0, 0.0) else values
