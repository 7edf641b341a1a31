"""The model, with its data, that a command's arguments name: a run folder, a factory, or a file."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from holomorph.cli.common import parse_box
from holomorph.data import Splits, load_data
from holomorph.errors import ConfigError
from holomorph.records.training import TrainRecord
from holomorph.threats import ThreatModel
from holomorph.threats.features import Features


@dataclass(frozen=True)
class LoadedModel:
    """A model with its data, however it was named."""

    name: str
    model: nn.Module
    baseline: nn.Module | None
    splits: Splits
    own_threats: list[ThreatModel]
    training_cost: float | None
    source: dict[str, str]
    features: Features | None = None

    def threats(self, text: str | None) -> list[ThreatModel]:
        """Those that a text names, or its own."""
        if not text:
            return self.own_threats
        f = self.features
        found = ThreatModel.parse_many(text, self.splits.box if f is None else f.hull)
        return found if f is None else [f.threat(threat) for threat in found]


@dataclass(frozen=True)
class NamedModel:
    """How a command's arguments name a model with its data."""

    model: str
    weights: Path | None = None
    data: str = ""
    data_dir: Path | None = None
    box: tuple[float, float] | None = None
    trust: bool = False
    baseline: Path | None = None

    @property
    def is_run(self) -> bool:
        """Whether the model is that of a run folder."""
        return Path(self.model).is_dir()

    def folder(self, out: Path | None, otherwise: str) -> Path:
        """Where a command writes: the folder that was asked for, the run's own, or one of this name."""
        return out or (Path(self.model) if self.is_run else Path(otherwise))

    def load(self) -> LoadedModel:
        """Load them.

        Raises
        ------
        ConfigError
            For a name that is neither a run folder nor a model, and for a run folder with options that it answers
            itself.
        """
        if not self.is_run:
            return self._other()
        given = {
            "--weights": self.weights,
            "--baseline": self.baseline,
            "--data": self.data,
            "--box": parse_box(self.box),
        }
        if needless := [option for option, value in given.items() if value]:
            raise ConfigError(f"The run {self.model} has its own model and data. Leave out {', '.join(needless)}.")
        return self._run()

    def _run(self) -> LoadedModel:
        from holomorph.training.folder import RunFolder

        folder = RunFolder.open(self.model)
        config = folder.config
        baseline = folder.load_model("baseline", trusted=self.trust) if folder.has_baseline else None
        recorded = folder.path / "train.json"
        cost = TrainRecord.load(recorded).cost if recorded.is_file() else None
        name, model = f"{config.model} by {config.rule} ({self.model})", folder.load_model(trusted=self.trust)
        splits = config.load_data(self.data_dir)
        return LoadedModel(name, model, baseline, splits, [config.faced], cost, {"run": self.model}, config.varied)

    def _other(self) -> LoadedModel:
        from holomorph.integrations.loading import load_model
        from holomorph.nn.classifiers import MODELS
        from holomorph.nn.foreign import foreign_names, is_foreign

        source, weights = self.model, self.weights
        if not is_foreign(source) and source.partition("?")[0] not in MODELS:
            known = ", ".join([*MODELS, *foreign_names()])
            raise ConfigError(f"{source} is neither a run folder nor a model: {known}.")
        if weights is None and not is_foreign(source):
            raise ConfigError(f"{source} has no weights of its own. Give them with --weights FILE.")
        if not self.data:
            raise ConfigError(
                "A model that is not a run needs data: give --data folder:PATH, npz:PATH or another source."
            )
        splits = load_data(self.data, data_dir=self.data_dir, box=parse_box(self.box))
        shape, classes = tuple(splits.shape), splits.classes
        model = load_model(source, weights, shape=shape, classes=classes)
        other = None if self.baseline is None else load_model(source, self.baseline, shape=shape, classes=classes)
        how = {"factory": source, "weights": str(weights or ""), "shape": ",".join(map(str, shape)),
               "classes": str(classes)}  # fmt: skip
        name = f"{source} with {weights}" if weights else source
        splits = splits.among(getattr(model, "labels", ()))
        return LoadedModel(name, model, other, splits, [ThreatModel("inf", 0.1, splits.box)], None, how)
