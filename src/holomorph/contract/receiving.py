"""What a measurement begins with: model, samples and threats as they are given, and the model left as it was found."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from holomorph.contract.classifier import Classifier
from holomorph.contract.data import check_samples, gather, names_of_classes
from holomorph.contract.labels import check_form
from holomorph.contract.model import Differentiable, FixedBatch, accepted_batch, suited
from holomorph.contract.snapshot import Snapshot
from holomorph.contract.threats import ThreatsLike, as_threats
from holomorph.contract.units import InUnits
from holomorph.errors import ConfigError, HolomorphWarning
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import FeatureThreat
from holomorph.threats.features import Features
from holomorph.threats.grid import Grid, grid_of, grid_of_columns


@dataclass(frozen=True)
class Received:
    """A classifier, the samples and labels on its device and in its precision, and the threats.

    ``asked`` are the features whose eps differ; once :meth:`in_units` has made them ``features``, samples and threats
    are in their units. ``dtype`` is what the model takes, ``names`` are those of the classes.
    """

    classifier: Classifier
    x: Tensor
    y: Tensor
    threats: list[ThreatModel]
    dtype: torch.dtype
    asked: Features | None = None
    names: tuple[str, ...] = ()
    features: Features | None = None

    def in_units(self) -> Received:
        """The same in the units of the features, if there are any."""
        features = self.asked
        if features is None:
            return self
        threats: list[ThreatModel] = [features.threat(t) for t in self.threats]
        inside = Classifier(InUnits(self.classifier.model, features, self.dtype), first=self.classifier.first)
        return replace(self, classifier=inside, x=features.encode(self.x), threats=threats, features=features)

    def likewise(self, model: Differentiable) -> Classifier:
        """Another model of the same samples."""
        inside = model if self.features is None else InUnits(model, self.features, self.dtype)
        return Classifier(inside, first=Snapshot(model))

    def alike(self) -> Received:
        """Itself, for a measurement that knows one eps for all features.

        Raises
        ------
        ConfigError
            For a per-feature threat.
        """
        if self.asked is not None:
            raise ConfigError(
                "A threat feature by feature serves rules, fit, evaluate, attack and certify. Give one eps."
            )
        return self

    @property
    def grid(self) -> Grid | None:
        """The grid on which the samples lie, such as that of 8-bit values."""
        f = self.features
        return grid_of(self.x) if f is None else grid_of_columns(self.x, f.low, f.unit)


def receive(
    model: Any,
    x: Any,
    y: Any = None,
    threats: ThreatsLike = (),
    *,
    n: int | None = None,
    batch_size: int | None = None,
    features: Features | None = None,
    first: bool = False,
) -> Received:
    """Take what a user gives to a measurement, or refuse it.

    Parameters
    ----------
    model:
        A module, any function, or a fitted estimator of scikit-learn.
    x, y:
        See :func:`~holomorph.contract.data.gather`. Labels are class indices; those of an estimator are its own.
    threats:
        See :func:`~holomorph.contract.threats.as_threats`; a text has the box of a data set in parts. A per-feature
        threat brings its features. Without any an estimator of this package has the one it was trained for.
    n:
        The first n samples only.
    batch_size:
        How many samples the model is given at a time, should it take that number only.
    features:
        Eps and range of each feature, inside which the samples must lie; otherwise they lie in the threats' box.
    first:
        Whether the model's state before its first call is noted, so that it can be set back.

    Raises
    ------
    DataError, ConfigError, ModelError
        With one sentence that says what to do.

    >>> received = receive(nn.Linear(2, 2), [[0.1, 0.2]], [1], "inf:0.1")
    >>> received.x.dtype, received.y, len(received.threats)
    (torch.float32, tensor([1]), 1)
    """
    before, names = Snapshot(model) if first else None, names_of_classes(x)
    if not isinstance(model, nn.Module) and callable(getattr(model, "predict", None)):
        from holomorph.contract.estimators import opened  # imports scikit-learn, as an estimator has done

        model, x, y, threats, named = opened(model, x, y, threats)
        names = named or names
    found, features = _apart(as_threats(threats, getattr(x, "box", (0.0, 1.0))), features)
    samples, labels = gather(x, y, n=n)
    if n is not None and n > len(samples):
        text = f"{n} samples were asked for, but there are {len(samples)}: all of them are used."
        warnings.warn(text, HolomorphWarning, stacklevel=3)
    check_form(labels, soft=False)
    check_samples(samples, labels, box=found[0].box if features is None else None)
    if features is not None:
        features.check(samples)
    samples, labels = suited(model, samples), suited(model, labels)
    only = accepted_batch(model, samples, batch_size)
    classifier = Classifier(model if only is None else FixedBatch(model, only), first=before)
    return Received(classifier, samples, labels, found, samples.dtype, features, names)


def _apart(threats: list[ThreatModel], features: Features | None) -> tuple[list[ThreatModel], Features | None]:
    """Per-feature threats as the threats and the features that they were made of."""
    own = [threat.features for threat in threats if isinstance(threat, FeatureThreat)]
    if own and any(other is not own[0] for other in (*own, *([] if features is None else [features]))):
        raise ConfigError("The threats count in the units of different features. Make all of them from the same.")
    plain = [threat.plain() if isinstance(threat, FeatureThreat) else threat for threat in threats]
    return plain, own[0] if own else features
