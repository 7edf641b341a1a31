"""``RobustClassifier``: a network trained by any learning rule, with the interface of scikit-learn."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from holomorph._utils.seeding import seed_for
from holomorph.contract import check_batch, gradients
from holomorph.errors import unknown_name
from holomorph.nn.classifiers import MLP, Normalise
from holomorph.rules import parse
from holomorph.sklearn.common import TorchClassifier, learned_threat, train_in_double
from holomorph.threats import ThreatModel
from holomorph.threats.features import Features

UNITS = ("spread", "feature")


class RobustClassifier(TorchClassifier):
    """A smooth multilayer perceptron trained to withstand perturbations of a stated size.

    Parameters
    ----------
    rule : str
        A learning rule by name, with settings if wanted: ``"finite"``, ``"pgd(steps=5)"``, ...; see
        ``holomorph.rules``.
    eps : float
        Radius of the perturbations, by default in standard deviations of each feature in the training data: one eps
        for income in euros and age in years means nothing else.
    eps_unit : {"spread", "feature"}
        ``"feature"``: eps is in the units of the features that reach this estimator, the same for all of them.
    norm : {"inf", 2, 1}
        Their norm.
    box : tuple or None
        Range of the features (low, high), in their own units; None learns it from the training data.
    width, depth, activation :
        Of the network; its first layer standardises each feature.
    epochs, batch_size, lr :
        Of the training.
    random_state : int, RandomState or None
        Seeds weights, batches and perturbations.

    Attributes
    ----------
    classes_ : ndarray
        The labels.
    model_ : torch.nn.Module
        Inputs to logits; what attacks and ``holomorph.evaluate`` take.
    threat_ : ThreatModel
        Norm, radius and box that were used, in standard deviations unless ``eps_unit`` is ``"feature"``.
    features_ : Features or None
        The unit and range of each feature where they differ: ``holomorph.evaluate(clf, X, y, clf.threat_,
        features=clf.features_)`` attacks in the units of the training.
    record_ : TrainRecord
        Loss, time and settings of the training.

    Source: docs/mathematics.md, section 2.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(100, noise=0.1, random_state=0)
    >>> bool(RobustClassifier(eps=0.1, random_state=0).fit(X, y).score(X, y) > 0.9)
    True
    """

    def __init__(
        self,
        rule: str = "finite",
        *,
        eps: float = 0.1,
        eps_unit: Literal["spread", "feature"] = "spread",
        norm: str | float = "inf",
        box: tuple[float, float] | None = None,
        width: int = 64,
        depth: int = 2,
        activation: str = "gelu",
        epochs: int = 100,
        batch_size: int = 32,
        lr: float = 1e-2,
        random_state: Any = None,
    ) -> None:
        self.rule = rule
        self.eps = eps
        self.eps_unit = eps_unit
        self.norm = norm
        self.box = box
        self.width = width
        self.depth = depth
        self.activation = activation
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.random_state = random_state

    @gradients()
    def fit(self, X: Any, y: Any) -> RobustClassifier:
        """Fit to features (samples, n) and labels (samples,)."""
        if self.eps_unit not in UNITS:
            raise unknown_name("unit of eps", self.eps_unit, UNITS)
        x, labels, seed = self._check_training(X, y)
        check_batch(x, labels, box=self.box)
        first, network = _standardising(x), self._network(x, seed)
        self.features_: Features | None = None
        inputs, box = x, self.box
        trained: nn.Module = nn.Sequential(first, network)
        if self.eps_unit == "spread":
            inputs = first(x)
            low, high = (x.amin(0), x.amax(0)) if box is None else (torch.full_like(x[0], bound) for bound in box)
            self.features_ = Features(first.std, low, high)
            walls = first(torch.stack([low, high]))
            box, trained = (float(walls.min()), float(walls.max())), network
        self.threat_: ThreatModel = learned_threat(inputs, self.norm, self.eps, box)
        rule = parse(self.rule, self.threat_, seed=seed_for(seed, "rule"))
        self.record_ = train_in_double(
            trained, inputs, labels, rule, epochs=self.epochs, batch_size=self.batch_size, lr=self.lr, seed=seed
        )
        self.model_ = nn.Sequential(first, network).eval()
        return self

    def _network(self, x: Tensor, seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed_for(seed, "weights"))
            return MLP(
                (x.shape[1],), len(self.classes_), width=self.width, depth=self.depth, activation=self.activation
            )


def _standardising(x: Tensor) -> Normalise:
    """The first layer: each feature less its mean, divided by its standard deviation where it has one."""
    spread = x.std(0, correction=0)
    unit = torch.where(spread > 0, spread, torch.ones_like(spread))
    return Normalise(x.mean(0).tolist(), unit.tolist(), dtype=torch.float64)
