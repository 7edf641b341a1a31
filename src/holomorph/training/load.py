"""``load``: a trained run as a model with its weights and everything that was recorded about it."""

import os
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from holomorph.contract import gradients
from holomorph.errors import ConfigError
from holomorph.records.base import Record
from holomorph.records.evaluation import EvaluationRecord
from holomorph.records.reading import read_folder
from holomorph.records.training import TrainRecord
from holomorph.training import checkpoint
from holomorph.training.folder import RunFolder


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes
    ----------
    model:
        With its weights, in evaluation mode.
    records:
        All records in the folder: of the training, of evaluations, certificates, explanations.
    """

    folder: Path
    model: nn.Module
    records: tuple[Record, ...]

    @property
    def training(self) -> TrainRecord | None:
        """The record of the training."""
        return next((record for record in self.records if isinstance(record, TrainRecord)), None)

    @property
    def evaluation(self) -> EvaluationRecord | None:
        """The record of the evaluation, if there was one."""
        return next((record for record in self.records if isinstance(record, EvaluationRecord)), None)


@gradients()
def load(folder: str | os.PathLike[str], model: nn.Module | None = None, *, trust: bool | str = False) -> Run:
    """Load the run in a folder; nothing that the folder names is executed unasked.

    Parameters
    ----------
    folder:
        What ``fit(out=...)`` or ``holomorph train --out`` has written.
    model:
        A module of the architecture that was trained, for runs of a model of your own; its weights are replaced.
        Built-in models that a command has trained are made anew.
    trust:
        Whether code that the folder names as its model, ``package.module:factory``, may be imported and called: True,
        or the name of the one that may.

    Raises
    ------
    ConfigError
        If the folder does not say how to make the model, and none is given; or names code that nobody trusts.
    DataError, CheckpointError
        If there are no records, or the weights are missing, damaged or of another architecture.

    Examples
    --------
    >>> import tempfile, torch
    >>> from holomorph.rules import Plain
    >>> from holomorph.training.fit import fit
    >>> out, x = Path(tempfile.mkdtemp()) / "run", torch.rand(64, 2)
    >>> _ = fit(nn.Linear(2, 2), (x, (x[:, 0] > x[:, 1]).long()), Plain(), epochs=1, out=out)
    >>> run = load(out, nn.Linear(2, 2))
    >>> run.training.rule, run.model.training
    ('plain', False)
    """
    path = Path(folder)
    records = tuple(read_folder(path))
    if model is not None:
        weights = path / "model.safetensors"
        checkpoint.load_into(model, checkpoint.load_tensors(weights), str(weights))
        return Run(path, model.eval(), records)
    if not (path / "config.json").is_file():
        raise ConfigError(
            f"{path} holds the weights of a model of your own. Give it, untrained: load({str(path)!r}, MyModel())."
        )
    return Run(path, RunFolder.open(path).load_model(trusted=trust), records)
