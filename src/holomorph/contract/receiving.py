"""What a measurement begins with: model, samples and threats as they are given, and the model left as it was found."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holomorph._utils.seeding import random_states, replaying
from holomorph.contract.classifier import Classifier
from holomorph.contract.compiled import eagerly
from holomorph.contract.data import check_samples, gather, names_of_classes
from holomorph.contract.estimators import is_estimator, names_by, taken_apart, trained_for
from holomorph.contract.labels import check_form
from holomorph.contract.model import Differentiable, FixedBatch, accepted_batch, gradients, suited
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
    if is_estimator(model):
        names = names_by(model) or names
        if y is None and isinstance(x, tuple | list) and len(x) == 2:
            x, y = x
        if not threats:
            model, x, threats = trained_for(model, x)
    found, features = _apart(as_threats(threats, getattr(x, "box", (0.0, 1.0))), features)
    if is_estimator(model):
        model, x, y = taken_apart(model, x, y)
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


@contextmanager
def under_attack(model: Differentiable) -> Iterator[None]:
    """Put a model in evaluation mode with fixed parameters, and give every module its own state back.

    Attacks such as FAB call ``backward``: with the parameters fixed nothing is added to their gradients. Gradients can
    be taken inside, whatever the caller has switched off, and compiled modules run as they were written. The
    random states of torch, NumPy and Python are given back, since attack packages seed them.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    parameters = [p for module in modules for p in module.parameters(recurse=False)]
    modes = [module.training for module in modules]
    wanted = [p.requires_grad for p in parameters]
    states = random.getstate(), np.random.get_state()
    try:
        for module in modules:
            module.training = False
        for p in parameters:
            p.requires_grad_(False)
        device = parameters[0].device if parameters else torch.device("cpu")
        forked = torch.random.fork_rng(devices=_cuda_devices())
        with forked, replaying(random_states(device), device), gradients(), eagerly():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for p, want in zip(parameters, wanted, strict=True):
            p.requires_grad_(want)


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
