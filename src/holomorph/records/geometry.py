"""What ``holomorph geometry`` found: for each data set and model the angle between boundary and data curve."""

from typing import ClassVar

from holomorph.records.base import Part, Record


class PlanarModel(Part):
    """One trained model on one data set.

    Attributes
    ----------
    name:
        Of the model.
    accuracy:
        On the training samples, a fraction.
    angles:
        In degrees, along the boundary where it is near the data's curve.
    median_angle:
        Their median; None if the boundary keeps away from the curve.
    seconds:
        Of training.
    """

    name: str
    accuracy: float
    angles: tuple[float, ...]
    median_angle: float | None
    seconds: float


class PlanarResult(Part):
    """All models on one data set.

    Attributes
    ----------
    data:
        Its name.
    separable:
        The verdict of ``can_separate`` for pairing and Re h.
    area, energy:
        Of the image of the unit disc under the holomorphic hypothesis, and its energy there; None for several outputs.
    """

    data: str
    separable: str
    area: float | None
    energy: float | None
    models: tuple[PlanarModel, ...]


class GeometryRecord(Record):
    """The gallery's values."""

    KIND: ClassVar[str] = "geometry"

    seed: int
    results: tuple[PlanarResult, ...]
