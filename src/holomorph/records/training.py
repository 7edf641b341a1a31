"""What a training run did: settings, course and cost."""

from typing import Any, ClassVar

from pydantic import Field

from holomorph.records.base import Part, Record
from holomorph.threats import ThreatModel
from holomorph.threats.ranges import FeatureRanges


class Epoch(Part):
    """One pass over the training samples."""

    number: int = Field(description="1 for the first")
    loss: float = Field(description="mean of what the rule returned")
    lr: float = Field(description="learning rate at the end")
    seconds: float
    validation_accuracy: float | None = None
    robust_accuracy: float | None = Field(
        default=None, description="share of a few hundred validation samples still right after ten steps of ascent"
    )
    measured: dict[str, float] = Field(default_factory=dict, description="means of what the rule measured")


class BaselineSummary(Part):
    """The undefended model of the same shape: trained by empirical risk from the same start, on the same batches."""

    history: tuple[Epoch, ...]
    seconds: float


class TrainRecord(Record):
    """The outcome of :func:`holomorph.fit`.

    >>> TrainRecord.KIND
    'training'
    """

    KIND: ClassVar[str] = "training"

    model: str
    model_settings: dict[str, Any] = Field(default_factory=dict)
    parameters: int
    data: str = ""
    samples: int
    rule: str
    rule_settings: dict[str, Any]
    threat: ThreatModel | None = None
    features: FeatureRanges | None = Field(default=None, description="in whose units the threat counts")
    class_names: tuple[str, ...] = Field(default=(), description="of the classes in their order; empty: their numbers")
    seed: int
    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    weight_decay: float
    schedule: str = "one-cycle"
    ema: float | None = Field(default=None, description="decay of the averaged weights that the model ends with")
    history: tuple[Epoch, ...]
    kept_epoch: int | None = Field(default=None, description="the epoch whose weights the model ended with")
    seconds: float = Field(description="wall time of all epochs, validation left out")
    cost: float = Field(description="passes a sample and epoch relative to plain training, by the rule's own count")
    measured_cost: float | None = Field(default=None, description="wall time relative to the undefended baseline's")
    baseline: BaselineSummary | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    device: str = "cpu"
    processes: int = 1
    command: str = ""
    started: str = Field(default="", description="UTC, ISO 8601")
