"""What was proved of a classifier: for each sample a radius up to which no change alters a correct prediction."""

from statistics import median
from typing import ClassVar, Literal

from pydantic import Field

from holomorph.records.base import Interval, Part, Record
from holomorph.threats import ThreatModel
from holomorph.threats.ranges import FeatureRanges


class Smoothing(Part):
    """The noise under which a classifier was certified: what is proved holds for the smoothed classifier."""

    sigma: float = Field(description="standard deviation of the noise, in input units")
    draws: int = Field(description="noisy copies of each sample")
    failure: float = Field(description="probability, for each sample, that its radius is wrong")
    abstained: int = Field(description="samples on which no prediction was clear enough")


class ThreatCertificate(Part):
    """What was proved under one threat; the lists hold one entry a sample."""

    threat: ThreatModel
    proved: float = Field(
        description="share of samples classified correctly for every change inside the threat, proved"
    )
    interval: Interval
    radii: tuple[float, ...] = Field(description="proved radius; 0 where the prediction is wrong or nothing was proved")
    proved_by: tuple[str | None, ...] = Field(description="the method that proved the radius")

    def accuracy(self, eps: float) -> float:
        """The share of samples with a proved radius of at least eps, and of any radius at 0."""
        return sum(radius >= eps and radius > 0 for radius in self.radii) / len(self.radii)


class CertificateRecord(Record):
    """The outcome of :func:`holomorph.certify`: a lower bound of the robust accuracy, beside attacks' upper bounds.

    >>> CertificateRecord.KIND
    'certificate'
    """

    KIND: ClassVar[str] = "certificate"

    model: str
    data: str = ""
    samples_hash: str = Field(default="", description="sha256 of samples and labels, as in an evaluation's record")
    samples: int
    classes: int
    method: str
    precision: Literal["float32", "float64"] = Field(description="of the arithmetic whose predictions are certified")
    clean: float
    clean_interval: Interval
    threats: tuple[ThreatCertificate, ...]
    smoothing: Smoothing | None = None
    untried: int = Field(default=0, description="samples that were not looked at when the time had passed")
    searched: tuple[bool, ...] = Field(
        default=(), description="unbroken samples whose largest radius was looked for; empty: all"
    )
    reason: str = Field(default="", description="why nothing can be proved of this model; empty: proofs were tried")
    features: FeatureRanges | None = Field(default=None, description="in whose eps the threats count")
    labels: tuple[int, ...] = ()
    predictions: tuple[int, ...] = Field(default=(), description="of the clean samples; -1 where smoothing abstained")
    seed: int = 0
    versions: dict[str, str] = Field(default_factory=dict)
    device: str = "cpu"
    command: str = ""
    finished: str = Field(default="", description="UTC, ISO 8601")
    seconds: float = 0.0

    def median_radius(self, part: ThreatCertificate) -> float:
        """Over the samples that no attack broke and whose largest radius was looked for."""
        searched = self.searched if any(self.searched) else (True,) * self.samples
        return median(radius for radius, looked in zip(part.radii, searched, strict=True) if looked)

    @property
    def everywhere(self) -> float:
        """The share of samples that provably withstand every change of every threat."""
        safe = [[radius >= part.threat.radius for radius in part.radii] for part in self.threats]
        return sum(map(all, zip(*safe, strict=True))) / self.samples
