"""What a transfer analysis found: who fools whom, what the gradients predicted, how near the models are."""

from typing import ClassVar, Literal

from pydantic import Field

from holomorph.records.base import Interval, Part, Record
from holomorph.threats import ThreatModel

#: Rows are sources, on which the examples are made; columns are targets, on which they are tried.
Matrix = tuple[tuple[float, ...], ...]


class MeasuredTransfer(Part):
    """One attack at one radius, made on each source and tried on each target."""

    attack: str
    eps: float
    increase: Matrix = Field(description="mean increase of the target's loss")
    success: Matrix = Field(description="share of the target's correct predictions that become wrong")


class PredictedTransfer(Part):
    """What the gradients (order 1), with the curvature along the step (order 2), say the attacks will do."""

    order: Literal[1, 2]
    eps: float
    increase: Matrix
    success: Matrix
    shuffled: Matrix = Field(description="predicted increase with each source's steps given to other samples")


class PredictionScore(Part):
    """How well a prediction meets an attack, over the pairs of different models; nothing is fitted.

    R^2 is 1 minus the squared error over the spread of the measurements; centred, both matrices have lost their row
    and column effects. Intervals are bootstrapped over samples.
    """

    attack: str
    eps: float
    order: Literal[1, 2]
    step: Literal["gradient", "own"] = Field(
        default="gradient", description="the direction predicted from: the source's gradient, or the attack's own"
    )
    counted: Literal["all", "right"] = Field(
        default="all",
        description="right: for each source the samples that it classifies correctly; the others need no step",
    )
    r_squared: Interval = Field(description="R^2 of the loss increases")
    r_squared_centred: Interval
    correlation: float = Field(description="Pearson's, of the loss increases")
    correlation_centred: float
    rank_success: Interval = Field(description="Spearman's, of the success rates")
    rank_asymmetry: float = Field(description="Spearman's, of success(i, j) - success(j, i) over the pairs i < j")
    shuffled: float = Field(description="R^2 of the prediction with shuffled pairing: the control")


class ParallelogramBound(Part):
    """The parallelogram bound for one pair of models, on the energy of their probabilities over the threat's balls."""

    pair: tuple[str, str]
    energies: tuple[float, float]
    of_difference: float = Field(description="D(f - g)")
    alignment: float = Field(description="D(f, g) / sqrt(D(f) D(g))")
    trivial: float = Field(description="2 D(f) + 2 D(g), true of any two functions")
    bound: float = Field(description="4 t at least, t the excess over the smallest energy of any competitor at hand")
    vacuous: bool = Field(description="whether the bound says no more than the trivial one")


class TransferRecord(Record):
    """The outcome of :func:`holomorph.transfer`.

    >>> TransferRecord.KIND
    'transfer'
    """

    KIND: ClassVar[str] = "transfer"

    threat: ThreatModel
    samples: int
    seed: int
    fingerprint: str = Field(default="", description="of models, data and settings: what a resumed run must match")
    models: tuple[str, ...]
    clean: tuple[float, ...]
    attacked: tuple[MeasuredTransfer, ...]
    predicted: tuple[PredictedTransfer, ...]
    scores: tuple[PredictionScore, ...] = Field(description="empty below four models")
    parallelogram: tuple[ParallelogramBound, ...]
    command: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    seconds: float = 0.0
