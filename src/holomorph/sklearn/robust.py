"""``RobustClassifier``: a network trained by any learning rule, with the interface of scikit-learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from holomorph._utils.seeding import seed_for
from holomorph.contract import check_batch
from holomorph.nn.classifiers import MLP, Normalise
from holomorph.rules import parse
from holomorph.sklearn.common import TorchClassifier, learned_threat, train
from holomorph.threats import ThreatModel


class RobustClassifier(TorchClassifier):
    """A smooth multilayer perceptron trained to withstand perturbations of a stated size.

    Parameters
    ----------
    rule : str
        A learning rule by name, with settings if wanted: ``"finite"``, ``"pgd(steps=5)"``, ...; see
        ``holomorph.rules``.
    eps : float
        Radius of the perturbations, in the units of the features that reach this estimator.
    norm : {"inf", 2, 1}
        Their norm.
    box : tuple or None
        Range of the features (low, high); None learns it from the training data.
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
        Norm, radius and box that were used.
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
        self.norm = norm
        self.box = box
        self.width = width
        self.depth = depth
        self.activation = activation
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> RobustClassifier:
        """Fit to features (samples, n) and labels (samples,)."""
        x, labels, seed = self._check_training(X, y)
        self.threat_: ThreatModel = learned_threat(x, self.norm, self.eps, self.box)
        check_batch(x, labels, box=self.threat_.box)
        rule = parse(self.rule, self.threat_, seed=seed_for(seed, "rule"))
        model = self._network(x, seed)
        self.record_ = train(
            model, x, labels, rule, epochs=self.epochs, batch_size=self.batch_size, lr=self.lr, seed=seed
        )
        self.model_ = model
        return self

    def _network(self, x: Tensor, seed: int) -> nn.Module:
        spread = x.std(0, correction=0)
        unit = torch.where(spread > 0, spread, torch.ones_like(spread))
        first = Normalise(x.mean(0).tolist(), unit.tolist(), dtype=torch.float64)
        with torch.random.fork_rng():
            torch.manual_seed(seed_for(seed, "weights"))
            network = MLP(
                (x.shape[1],), len(self.classes_), width=self.width, depth=self.depth, activation=self.activation
            )
        return nn.Sequential(first, network)
