"""The run folder: what a training was asked to do, its weights and its records, in known places."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from holomorph._utils.io import is_ours, read_json, sweep
from holomorph._utils.output import locked, remove_own
from holomorph._utils.seeding import seed_for
from holomorph.data import Splits, load_data
from holomorph.errors import CheckpointError, ConfigError, DataError
from holomorph.nn import classifiers, foreign
from holomorph.records.base import Record
from holomorph.records.training import TrainRecord
from holomorph.rules import Rule, parse
from holomorph.threats import ThreatModel
from holomorph.threats.features import Features
from holomorph.threats.ranges import FeatureRanges
from holomorph.training import checkpoint


class RunConfig(Record):
    """Everything needed to build the run's data, model and rule again; saved as ``config.json``.

    >>> config = RunConfig(data="digits", model="cnn", shape=(1, 8, 8), classes=10, rule="plain",
    ...                    threat=ThreatModel("inf", 0.1))
    >>> type(config.build_model()).__name__
    'CNN'
    """

    KIND: ClassVar[str] = "run"

    data: str
    data_dir: str | None = None
    model: str
    activation: str = "gelu"
    shape: tuple[int, ...] = Field(description="shape of one sample")
    classes: int
    rule: str = Field(description="as written on the command line, for instance dirichlet(weight=2)")
    threat: ThreatModel
    features: FeatureRanges | None = Field(default=None, description="in whose eps the threat counts")
    training: dict[str, Any] = Field(default_factory=dict, description="epochs, batch_size, lr, optimizer, ema, ...")
    seed: int = 0
    baseline: bool = True

    @property
    def asked(self) -> dict[str, Any]:
        """Every setting by the name that a person gave it."""
        fields = self.model_dump(mode="json", exclude={"kind", "schema_version", "threat", "training"})
        return {**fields, "threat": str(self.threat), "box": list(self.threat.box), **self.training}

    def build_model(self, *, trusted: str | bool = False, weights_follow: bool = False) -> nn.Module:
        """Make the untrained model, from a start that depends on the seed only.

        Parameters
        ----------
        trusted:
            A model that is not built in is code that a file names. It is imported only if it is the one named here,
            or for True.
        weights_follow:
            Whether a library's weights are left out, because others are loaded next.

        Raises
        ------
        ConfigError
            For code that nobody has trusted.
        """
        if foreign.is_code(self.model) and trusted is not True and trusted != self.model:
            raise ConfigError(
                f"The run's model is {self.model}, code that would be imported from where you are. If you know it, "
                f"give --model {self.model}, or --trust (trust=True)."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(self.seed, "model"))
            follow = False if weights_follow else None
            built = classifiers.build_classifier(
                self.model, self.shape, self.classes, activation=self.activation, pretrained=follow
            )
        if (f := self.varied) is None:
            return built
        span = torch.where(f.high > f.low, f.high - f.low, 1.0)
        return nn.Sequential(classifiers.Normalise(f.low.tolist(), span.tolist()), built)

    @property
    def varied(self) -> Features | None:
        """What may change feature by feature, if that was said."""
        return None if self.features is None else Features.recorded(self.features, self.shape)

    @property
    def faced(self) -> ThreatModel:
        """The threat, in the units of the features if there are any."""
        return self.threat if (f := self.varied) is None else f.threat(self.threat)

    def build_rule(self) -> Rule:
        """Make the rule."""
        return parse(self.rule, self.faced, seed=self.seed)

    def load_data(self, data_dir: str | Path | None = None) -> Splits:
        """Load the data set."""
        box = self.threat.box if self.features is None else None
        return load_data(self.data, data_dir=data_dir or self.data_dir, box=box)


@dataclass(frozen=True)
class RunFolder:
    """A folder written by ``holomorph train``."""

    path: Path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Open an existing run.

        Raises
        ------
        ConfigError
            If there is no run at the path.
        """
        folder = cls(Path(path))
        if not (folder.path / "config.json").is_file():
            raise ConfigError(
                f"{path} is no run folder: it has no config.json. Make one with: holomorph train --out {path}"
            )
        return folder

    @property
    def config(self) -> RunConfig:
        """What the run was asked to do."""
        return RunConfig.load(self.path / "config.json")

    @property
    def has_baseline(self) -> bool:
        """Whether an undefended baseline was trained."""
        return (self.path / "baseline.safetensors").is_file()

    def load_model(self, name: str = "model", *, trusted: str | bool = False) -> nn.Module:
        """Load the trained ``"model"`` or its ``"baseline"``, in evaluation mode.

        Raises
        ------
        DataError
            If the run has no such weights yet.
        CheckpointError
            If they are damaged or of another architecture.
        """
        path = self.path / f"{name}.safetensors"
        if not path.is_file():
            raise DataError(f"{path} is missing: the training was not finished. Go on with: holomorph train --resume")
        model = self.config.build_model(trusted=trusted, weights_follow=True)
        checkpoint.load_into(model, checkpoint.load_tensors(path), str(path))
        return model.eval()


#: What this package leaves in a run folder, and in that of its baseline.
WRITTEN = (
    "config.json", "train.json", "model.safetensors", "baseline.safetensors", "events.out.tfevents.*",
    "logs/metrics.csv",
    "checkpoints/settings.json", "checkpoints/epoch-*.json", "checkpoints/epoch-*.safetensors",
    "checkpoints/epoch-*.shares/*.safetensors", "checkpoints/best.json", "checkpoints/best.safetensors",
    "evaluation.json", "evaluation.npz", "evaluation.state/*.npz", "diagnostics.json", "explanation.json",
    "explanation.parts/*.npz", "certificate.json", "certificate.parts/*.npz",
    "run-val.json", "run-test.json", "attacks/*.safetensors", ".*.lock",
)  # fmt: skip

#: The lock of a run, which is also the mark that one began in the folder, before any other file lies there.
LOCK = ".run.lock"

#: What to do about a run that was started with other settings.
RESUME_ALIKE = "Resume with the same settings, or give --force to start anew."


@contextmanager
def holding(folder: Path, *, resume: bool, force: bool) -> Iterator[None]:
    """Make the run's folder and hold it while the run writes, or say why it cannot be used.

    ``force`` removes what this package wrote there. Whatever a kill has left, ``resume`` goes on from it or starts
    anew.

    Raises
    ------
    ConfigError
        If it exists and neither ``resume`` nor ``force`` was asked for, is no run, or another process writes there.
    StorageError
        If it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is no folder. Choose another name.")
    if _content_beyond_lock(folder):
        if not (resume or force):
            raise ConfigError(f"{folder} exists. Choose another, or give --force to replace it, or --resume.")
        if not is_run(folder):
            raise ConfigError(f"{folder} is no run of holomorph and will not be replaced. Choose another.")
    with locked(folder / LOCK):
        if force and not resume:
            remove_own(folder, own_files(folder))
        for place in (folder, folder / "baseline", folder / "checkpoints", folder / "baseline" / "checkpoints"):
            if not place.is_symlink():
                sweep(place, _names(place))
        yield


@contextmanager
def nothing_left_of_a_refusal(folder: Path, files: Callable[[Path], list[Path]] | None = None) -> Iterator[None]:
    """Remove what a run wrote inside this block if it was refused, or failed, before its first checkpoint.

    What lay there before, such as the records of a run whose weights are gone, stays. ``files`` finds what is ours
    in a folder of another kind than a run's.
    """
    ours = files or own_files
    before = set(ours(folder))
    try:
        yield
    except (Exception, SystemExit):
        written = set(ours(folder))
        if not any(path.match("checkpoints/epoch-*.json") for path in written if "baseline" not in path.parts[-3:]):
            remove_own(folder, sorted(written - before))
        raise


def _content_beyond_lock(folder: Path) -> bool:
    return folder.is_dir() and any(path.name != LOCK for path in folder.iterdir())


def _names(folder: Path) -> list[str]:
    """The files of ours that a killed write may have left unfinished there."""
    ours = {pattern.rpartition("/")[2] for pattern in WRITTEN}
    found = [path.name[1:].rsplit(".", 2)[0] for path in folder.glob(".*.part")]
    return [name for name in found if any(fnmatch(name, pattern) for pattern in ours)]


def noted(path: Path) -> dict[str, Any]:
    """The settings that a run has noted.

    Raises
    ------
    CheckpointError
        For a damaged file.
    """
    remedy = "Start anew with --force, or in another folder."
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). {remedy}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: it holds no settings. {remedy}")
    return content


def check_same(before: dict[str, Any], now: dict[str, Any], folder: Path, remedy: str = RESUME_ALIKE) -> None:
    """Refuse to go on with other settings than a run had.

    Raises
    ------
    ConfigError
        Naming the first that differs.
    """
    for key in {**before, **now}:
        if before.get(key) != now.get(key):
            raise ConfigError(
                f"The run in {folder} was started with {key} = {before.get(key)}, not {now.get(key)}. {remedy}"
            )


def is_run(folder: Path) -> bool:
    """Whether a training of this package began or ended in the folder."""
    return (
        ((folder / LOCK).is_file() and not (folder / LOCK).is_symlink())
        or _content(folder / "config.json").get("kind") == RunConfig.KIND
        or _content(folder / "train.json").get("kind") == TrainRecord.KIND
        or {"rule", "epochs"} <= _content(folder / "checkpoints" / "settings.json").keys()
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def own_files(folder: Path) -> list[Path]:
    """What this package wrote into a run folder, and into that of its baseline; the run's lock is left out."""
    places = (folder, folder / "baseline")
    ours = {path for place in places for pattern in WRITTEN for path in place.glob(pattern) if not path.is_dir()}
    page = folder / "report.html"
    if page.is_file() and is_ours(page):
        ours.add(page)
    return sorted(ours - {folder / LOCK})
