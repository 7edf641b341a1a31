"""``RobustClassifier``: a network trained by any learning rule, with the interface of scikit-learn."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holomorph._utils.seeding import seed_for
from holomorph.contract import check_batch
from holomorph.errors import unknown_name
from holomorph.nn.classifiers import MLP, Normalise
from holomorph.rules import parse
from holomorph.rules.base import RiskFunction
from holomorph.sklearn.common import TorchClassifier, learned_threat
from holomorph.threats import ThreatModel
from holomorph.threats.features import Features

UNITS = ("spread", "feature")


@dataclass(repr=False, eq=False)
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
    features : Features or None
        What an attacker may do to each feature that reaches this estimator, instead of unit and box; ``eps`` counts in
        its eps. See :class:`holomorph.threats.features.Features`.
    width, depth, activation :
        Of the network; its first layer standardises each feature.
    epochs, batch_size, lr :
        Of the training.
    class_weight : dict, "balanced" or None
        How much each label counts; samples have weights of their own in :meth:`fit`.
    risk_function : callable or None
        Logits and labels 0..K-1 to the risk of each sample; None: the cross-entropy.
    random_state : int, RandomState or None
        Seeds weights, batches and perturbations.

    Attributes
    ----------
    classes_ : ndarray
        The labels.
    model_ : torch.nn.Module
        Inputs to logits; what attacks and ``holomorph.evaluate`` take.
    threat_ : ThreatModel
        What the network was trained for, in standard deviations unless ``eps_unit`` is ``"feature"``.
        ``holomorph.evaluate(clf, X, y)`` attacks within it.
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

    rule: str = "finite"
    _: KW_ONLY
    eps: float = 0.1
    eps_unit: Literal["spread", "feature"] = "spread"
    norm: str | float = "inf"
    box: tuple[float, float] | None = None
    features: Features | None = None
    width: int = 64
    depth: int = 2
    activation: str = "gelu"
    epochs: int = 100
    batch_size: int = 32  # tables are small: half of what fit takes, with learning rates that go with it
    lr: float = 1e-2
    class_weight: Any = None
    risk_function: RiskFunction | None = None
    random_state: Any = None

    def _train(self, x: Tensor, labels: Tensor, weights: Tensor | None, seed: int) -> nn.Module:
        if self.eps_unit not in UNITS:
            raise unknown_name("unit of eps", self.eps_unit, UNITS)
        check_batch(x, labels, box=self.box)
        first, network = _standardising(x), self._network(x, seed)
        self.threat_: ThreatModel = self._threat(x, first.std)
        rule = parse(self.rule, self.threat_, seed=seed_for(seed, "rule"), risk_function=self.risk_function)
        model = nn.Sequential(first, network)
        self.record_ = self._fit(model, x, labels, rule, seed, weights)
        return model

    def _threat(self, x: Tensor, spread: Tensor) -> ThreatModel:
        """The threat in the units asked for; a feature that is constant in the training data is frozen."""
        features = self.features
        if features is None and self.eps_unit == "spread" and bool((x != x[0]).any()):
            low, high = (x.amin(0), x.amax(0)) if self.box is None else (x.new_full(x[0].shape, b) for b in self.box)
            narrow = (low < high) & (high - low < self.eps * spread)
            low, high = (
                torch.where(narrow, w, v) for v, w in ((low, low - self.eps * spread), (high, high + self.eps * spread))
            )
            features = Features(torch.where(low < high, spread, 0.0), low, high)
        if features is None:
            return learned_threat(x, self.norm, self.eps, self.box)
        return features.threat(ThreatModel(self.norm, self.eps, features.hull))

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
