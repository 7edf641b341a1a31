"""What a comparison of rules found: one entry a rule, one a run, and the paired differences."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from holomorph.errors import DataError
from holomorph.records.base import Interval, Part, Record
from holomorph.threats import ThreatModel

#: The name under which the values of all threats at once stand.
UNION = "union"


class RunResult(Part):
    """One training and its evaluation."""

    seed: int
    epochs: int
    seconds: float = Field(description="wall time of the training")
    clean: float
    robust: dict[str, float] = Field(description="by threat, and for the union of all threats")
    right: dict[str, str] = Field(description="clean, by threat, union: one character a sample, 1 where it is right")
    failed_checks: tuple[str, ...] = Field(default=(), description="of the full evaluation: values not to be trusted")
    cost: float | None = Field(default=None, description="passes a sample relative to plain training, as trained")


class RuleResult(Part):
    """One rule over all seeds; intervals from samples and seeds drawn with replacement."""

    text: str = Field(description="the rule as it was asked for, for instance dirichlet(weight=2)")
    settings: dict[str, Any]
    cost: float = Field(description="passes a sample relative to plain training, by the rule's own count")
    seconds: float = Field(description="mean wall time of a training")
    accuracies: dict[str, Interval] = Field(description="clean, by threat, union: accuracies")
    runs: tuple[RunResult, ...]


class Difference(Part):
    """The accuracy of one rule minus that of another, on the same samples and seeds."""

    first: str
    second: str
    quantity: str = Field(description="clean, a threat, or union")
    interval: Interval

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval.low > 0 or self.interval.high < 0


class ComparisonRecord(Record):
    """The outcome of :func:`holomorph.compare`.

    >>> ComparisonRecord.KIND
    'comparison'
    """

    KIND: ClassVar[str] = "comparison"

    data: str
    model: str
    activation: str = "gelu"
    training: dict[str, Any] = Field(description="batch size, learning rate, optimizer, ...")
    budget: str = Field(description="of each training: 6epochs, 10m, ...")
    seeds: int
    trained_for: ThreatModel
    threats: tuple[ThreatModel, ...]
    split: Literal["val", "test"]
    attack: str = Field(description="what the robust accuracies were measured with")
    samples: int
    class_names: tuple[str, ...] = ()
    rules: tuple[RuleResult, ...] = ()
    differences: tuple[Difference, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    device: str = "cpu"
    command: str = ""
    started: str = Field(default="", description="UTC, ISO 8601")

    @property
    def quantities(self) -> tuple[str, ...]:
        """The columns: clean, every threat, and the union where there is more than one threat."""
        threats = [str(threat) for threat in self.threats]
        return ("clean", *threats, UNION) if len(threats) > 1 else ("clean", *threats)

    def difference(self, first: str, second: str, quantity: str) -> Difference:
        """Look a pair up, in either order."""
        for found in self.differences:
            if found.quantity == quantity and (found.first, found.second) == (first, second):
                return found
            if found.quantity == quantity and (found.first, found.second) == (second, first):
                v = found.interval
                turned = Interval(value=-v.value, low=-v.high, high=-v.low, level=v.level)
                return Difference(first=first, second=second, quantity=quantity, interval=turned)
        raise DataError(f"There is no difference of {first!r} and {second!r} in {quantity!r} in this comparison.")
