"""The options that several commands have; what can be chosen is read from where it is defined."""

from pathlib import Path
from typing import Annotated

import typer

from holomorph.cli.common import either
from holomorph.data.sources import source_names
from holomorph.nn.classifiers import ACTIVATIONS, MODELS
from holomorph.nn.foreign import foreign_names
from holomorph.rules import RULES

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
FeaturesText = Annotated[
    str | None,
    typer.Option(
        "--features",
        help="What may change in a table: 'income=500 down, claims=2 whole'; or a file of such lines, or an npz file "
        "with eps, low, high. The threat counts in these eps.",
    ),
]
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
StepSize = Annotated[int, typer.Option(help="Samples a step.", min=1)]
LearningRate = Annotated[float, typer.Option(help="Peak of the one-cycle schedule.")]
Averaging = Annotated[float, typer.Option(help="Decay of averaged weights; 0 keeps none.")]
WithBaseline = Annotated[bool, typer.Option("--baseline/--no-baseline", help="Also train an undefended baseline.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder with the files of Fashion-MNIST or CIFAR.")]
BoxOption = Annotated[tuple[float, float] | None, typer.Option(help="LOW HIGH of the inputs of an npz file.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what an earlier command of ours left in the folder.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a stopped command was.")]
OutFolder = Annotated[Path | None, typer.Option("--out", help="Folder for the record; a run's own by default.")]
Trust = Annotated[bool, typer.Option("--trust", help="Import the code that a run or a record names as its model.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
