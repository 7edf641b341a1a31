"""What an explanation found: margins, energies, harmonicity, the boundary; over many models, convergence."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from holomorph.records.base import Interval, Part, Record
from holomorph.threats import ThreatModel

Where = Literal["samples", "balls", "segments"]


class Agreement(Part):
    """How well one estimate of the margin meets the smallest perturbation that attacks found."""

    estimate: Literal["first order", "analytic", "analytic, thorough"]
    spearman: Interval = Field(description="rank correlation over the samples classified correctly")
    relative_error: Interval = Field(description="median of |estimate - found| / found")
    curve_gap: Interval = Field(description="largest gap between predicted and attacked accuracy over eps, a fraction")
    joined_gap: Interval | None = Field(
        default=None, description="the same with the estimates' own wrong points among what was found"
    )
    seconds: float = Field(description="processor time on a CPU, wall clock elsewhere")
    faster: float = Field(description="times faster than FMN with the steps stated")


class Margins(Part):
    """Distances to the boundary of each sample: predicted, and found by attacks (an upper bound of the true one)."""

    threat: ThreatModel
    attacks: tuple[str, ...]
    steps: int
    found: tuple[float, ...]
    first_order: tuple[float, ...]
    analytic: tuple[float, ...]
    thorough: tuple[float, ...] = Field(default=(), description="analytic, each runner-up walked to by itself")
    crossed: tuple[float, ...] = Field(
        default=(), description="nearest point visited by the estimates where the prediction had changed"
    )
    eps: tuple[float, ...]
    attacked_accuracy: tuple[float, ...]
    first_order_accuracy: tuple[float, ...]
    analytic_accuracy: tuple[float, ...]
    thorough_accuracy: tuple[float, ...] = ()
    agreements: tuple[Agreement, ...]


class Place(Part):
    """The Dirichlet energy of the probabilities in one place."""

    where: Where
    energy: Interval
    top_tenth: float = Field(description="share of the energy that the steepest tenth of the points carries")


class Energies(Part):
    """Where the energy sits. A spike index far above 1 means: flat on the samples, steep around them."""

    threat: ThreatModel
    places: tuple[Place, ...]
    spike_index: Interval = Field(description="energy on the balls over energy on the samples")
    top_pixels: float = Field(description="share of the samples' energy in the steepest tenth of the coordinates")
    shape: tuple[int, ...]
    map: tuple[float, ...] = Field(description="mean squared derivative by each coordinate, on the samples")


class Harmonicity(Part):
    """How far the logits are from harmonic. All values are relative: 0 for a harmonic function."""

    radii: tuple[float, ...]
    mean_value_gap: tuple[Interval, ...] = Field(
        description="root mean square of the sphere's mean minus the centre, over that of the slope along the radius"
    )
    laplacian_residual: Interval = Field(description="the same at the largest radius as r^2 lap / 2n predicts it")
    maximum_violations: float = Field(description="share of samples and logits that exceed the whole sphere, by ascent")
    minimum_violations: float
    weak_residual: float = Field(
        description="share of the labels' pull that no multiple of the energy balances: 0 if weakly harmonic, 1 if not"
    )
    weight: float = Field(description="the multiple that balances most of it")


class Boundary(Part):
    """The decision boundary at the points nearest to the samples."""

    points: int
    mean_curvature: Interval = Field(description="median over points; per input unit; positive: bent around the sample")
    largest_curvature: Interval = Field(description="median of the largest |principal curvature|")
    distance: Interval = Field(description="median l_2 distance of the points from their samples")
    tangent_share: Interval = Field(description="|projection of the unit normal on the samples' tangent space|^2")
    chance: float = Field(description="the same for a random normal: dimension of the tangent space over inputs")
    neighbours: int


class Gap(Part):
    """Two or more independently trained models: how far they are apart on fresh samples and around them."""

    rule: str
    size: int = Field(description="training samples")
    pointwise: Interval = Field(description="mean |p_s - p_t|_1 / 2 at the samples, in [0, 1]")
    uniform: Interval = Field(description="mean over samples of its supremum over the threat, by ascent")
    generalisation: float = Field(description="accuracy on training minus test samples")
    robust_generalisation: float = Field(description="robust accuracy (PGD) on training minus test samples")


class ExplanationRecord(Record):
    """The outcome of :func:`holomorph.explain`; parts that were not asked for are None or empty.

    >>> ExplanationRecord.KIND
    'explanation'
    """

    KIND: ClassVar[str] = "explanation"

    model: str = ""
    data: str = ""
    threat: ThreatModel
    samples: int
    seed: int
    fingerprint: str = Field(default="", description="of model, data and settings: what a resumed run must match")
    clean: float
    margins: Margins | None = None
    energies: Energies | None = None
    harmonicity: Harmonicity | None = None
    boundary: Boundary | None = None
    convergence: tuple[Gap, ...] = ()
    experts: tuple[dict[str, Any], ...] = Field(default=(), description="of version 0.1, no longer shown")
    versions: dict[str, str] = Field(default_factory=dict)
    seconds: float = 0.0
