"""What gradients look like from the inputs: the record behind the report's histogram and energy table."""

from typing import ClassVar, Literal

from pydantic import Field

from holomorph.records.base import Interval, Part, Record
from holomorph.threats import ThreatModel


class Energy(Part):
    """The Dirichlet energy of one observable on one measure, with its confidence interval."""

    observable: str = Field(description="probabilities, logits or loss")
    place: Literal["samples", "ball"] = Field(description="at the samples, or uniform in the threat around them")
    interval: Interval


class Gradients(Part):
    """One model's input gradients."""

    norms: tuple[float, ...] = Field(description="|grad loss|_q of each sample, q dual to the threat's norm")
    energies: tuple[Energy, ...]


class DiagnosticsRecord(Record):
    """The outcome of :func:`holomorph.explanation.energy_profile.diagnose`.

    >>> DiagnosticsRecord.KIND
    'diagnostics'
    """

    KIND: ClassVar[str] = "diagnostics"

    threat: ThreatModel
    samples: int
    seed: int
    model: Gradients
    baseline: Gradients | None = Field(default=None, description="the undefended model of the same shape")
