"""``HolomorphicClassifier``: complex-valued holomorphic hypotheses with the interface of scikit-learn."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import Tensor, nn

from holomorph._utils.seeding import seed_for
from holomorph.calculus.measures import Ball, Samples
from holomorph.errors import ConfigError, unknown_name
from holomorph.exact import FockKernel, PolynomialHolomorphic
from holomorph.exact.classifier import ExactClassifier
from holomorph.exact.fock import FockLoss
from holomorph.nn.classifiers import Normalise
from holomorph.nn.embedding import embedding as make_embedding
from holomorph.nn.networks import HolomorphicMLP
from holomorph.nn.readout import CodeReadout, make_codes
from holomorph.rules.base import RiskFunction
from holomorph.rules.holomorphic import Holomorphic
from holomorph.sklearn.common import TorchClassifier, learned_threat

SOLVERS = ("fock", "polynomial", "network")


@dataclass(repr=False, eq=False)
class HolomorphicClassifier(TorchClassifier):
    r"""A classifier whose hypothesis is a complex-valued holomorphic function of the embedded features.

    $$\min_h \tfrac1N\sum_i |h(z_i) - c_{y_i}|^2 + \rho\,(\text{norm}^2 + \lambda\,\text{energy}),\qquad
      \hat y(x) = \arg\min_k |h(\iota(x)) - c_k|$$

    Parameters
    ----------
    solver : {"fock", "polynomial", "network"}
        ``"fock"``: over all entire functions, exact, see :class:`holomorph.exact.FockKernel`. ``"polynomial"``: up
        to ``degree``, exact, see :class:`holomorph.exact.PolynomialHolomorphic`. ``"network"``: a holomorphic
        network trained with the holomorphic rule.
    embedding : {"complexification", "pairing", "pairing-halves"}
        Real features to complex ones. Under pairing no decision region is bounded in the plane.
    codes : {"auto", "one-hot", "roots"}
        The value that h should take on each class; ``"auto"``: -1 and +1 for two classes, unit rows for more.
    weight : float
        lambda, the weight of the energy.
    ridge : float
        rho, the weight of the norm (exact solvers).
    scale : float
        The features are centred and divided by ``scale`` times their root mean square length (exact solvers).
    loss : {"squared", "hinge", "squared-hinge"}
        Of the Fock solver: ``"hinge"`` is the support vector machine with its kernel (codes -1 and +1, or one-hot),
        ``"squared-hinge"`` that without intercept.
    relative : bool or float
        Of the Fock solver: values are measured in units of a power, 0 to 1, of the largest that a function of norm one
        takes there. With 1 (True), ``weight=0`` and complexification this is the machine with the Gaussian kernel, of
        which ``scale`` is the width.
    landmarks : int or None
        Of the Fock solver: random features, see :class:`holomorph.exact.FockKernel`.
    degree : int
        Of the polynomials.
    eps : float or None
        Polynomials and networks take the energy in l_2 balls of this radius around the samples; None: at them.
    width, depth, activation, epochs, batch_size, lr :
        Size, activation and training of the network, whose risk is the cross-entropy of the distances to the codes
        and whose energy is taken in units of ``eps`` (0.1 if None).
    class_weight : dict, "balanced" or None
        How much each label counts; samples have weights of their own in :meth:`fit`.
    risk_function : callable or None
        Of the network: logits and labels 0..K-1 to the risk of each sample; None: the cross-entropy.
    random_state : int, RandomState or None
        Seeds the points drawn, landmarks and initial weights.

    Attributes
    ----------
    classes_ : ndarray
        The labels.
    model_ : torch.nn.Module
        Inputs to logits, for attacks and for :mod:`holomorph.calculus`.

    Features should be of similar size: put a ``StandardScaler`` before it where they are not. Radii are in the
    units of the features that reach this estimator.

    Source: docs/mathematics.md, sections 4 and 6.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = HolomorphicClassifier().fit(X, y)
    >>> bool(clf.score(X, y) > 0.95), clf.certified_radius(X).shape
    (True, (150,))
    """

    solver: Literal["fock", "polynomial", "network"] = "fock"
    _: KW_ONLY
    embedding: str = "complexification"
    codes: str = "auto"
    weight: float = 1.0
    ridge: float = 1e-4
    scale: float = 1.0
    loss: FockLoss = "squared"
    relative: float = False
    landmarks: int | None = None
    degree: int = 3
    eps: float | None = None
    width: int = 32
    depth: int = 2
    activation: str = "sin"
    epochs: int = 100
    batch_size: int = 32
    lr: float = 2e-2
    class_weight: Any = None
    risk_function: RiskFunction | None = None
    random_state: Any = None

    def _train(self, x: Tensor, labels: Tensor, weights: Tensor | None, seed: int) -> nn.Module:
        if self.solver not in SOLVERS:
            raise unknown_name("solver", self.solver, SOLVERS)
        name = self.codes if self.codes != "auto" else "signs" if len(self.classes_) == 2 else "one-hot"
        codes = make_codes(name, len(self.classes_))
        if self.solver == "network":
            return self._fit_network(x, labels, name, seed, weights)
        if self.risk_function is not None:
            raise ConfigError("An exact solver has its own risk: see loss. Use solver='network' for a risk_function.")
        return self._fit_exact(x, labels, codes, seed, weights)

    def _fit_exact(
        self, x: Tensor, labels: Tensor, codes: Tensor, seed: int, weights: Tensor | None
    ) -> ExactClassifier:
        embedding = make_embedding(self.embedding)
        real = bool((codes.imag == 0).all())
        targets = (codes.real if real else codes)[labels]
        solver: FockKernel | PolynomialHolomorphic
        if self.solver == "fock":
            solver = FockKernel(self.weight, self.ridge, self.scale, loss=self.loss, relative=self.relative,
                                landmarks=self.landmarks, seed=seed)  # fmt: skip
            model = ExactClassifier(solver, embedding, codes)
            solver.fit(model.embed(x), targets, weights)
        else:
            measure = Samples() if self.eps is None else Ball(learned_threat(x, 2, self.eps, None), clip=False)
            solver = PolynomialHolomorphic(
                self.degree, self.weight, self.ridge, embedding, measure, scale=self.scale, seed=seed
            )
            solver.fit(x, targets, weights)
            model = ExactClassifier(solver, embedding, codes)
        model.sharpness.fill_(_sharpness(model, x, labels, weights))
        return model

    def _fit_network(self, x: Tensor, labels: Tensor, codes: Any, seed: int, weights: Tensor | None) -> nn.Module:
        """Cross-entropy of the distances to the codes plus the energy, on features brought to unit size."""
        centre = x.mean(0)
        size = float((x - centre).square().mean().sqrt()) or 1.0
        with torch.random.fork_rng():
            torch.manual_seed(seed_for(seed, "weights"))
            network = HolomorphicMLP((x.shape[1],), len(self.classes_), width=self.width, depth=self.depth,
                                     activation=self.activation, embedding=self.embedding,
                                     readout=CodeReadout(len(self.classes_), codes))  # fmt: skip
        threat = learned_threat((x - centre) / size, 2, (self.eps or 0.1) / size, None)
        rule = Holomorphic(threat, weight=self.weight, risk_of="logits", seed=seed_for(seed, "rule"),
                           risk_function=self.risk_function)  # fmt: skip
        if self.eps is None:
            rule.measure = Samples()
        inputs = (x - centre) / size
        self._fit(network, inputs, labels, rule, seed, weights)
        return nn.Sequential(Normalise(centre.tolist(), size, dtype=torch.float64), network).double().eval()

    def certified_radius(self, X: Any, norm: float | str = 2) -> np.ndarray:
        """A radius for each sample within which no perturbation changes :meth:`predict`; (samples,).

        Parameters
        ----------
        X:
            Features (samples, n).
        norm:
            1, 2 or ``"inf"``.

        Raises
        ------
        ConfigError
            For the network solver, which has no certificate.
        """
        x = self._check_inputs(X)
        if not isinstance(self.model_, ExactClassifier):
            raise ConfigError("Networks have no certificate. Use solver='fock' or solver='polynomial'.")
        p = math.inf if str(norm) == "inf" else float(norm)
        return torch.cat([self.model_.certified_radius(part, p=p) for part in torch.split(x, 1024)]).numpy()


def _sharpness(model: ExactClassifier, x: Tensor, labels: Tensor, weights: Tensor | None) -> float:
    """The factor of the logits that gives the training labels the greatest likelihood, between 0.1 and 100."""
    with torch.no_grad():
        logits = torch.cat([model(part) for part in torch.split(x, 1024)]).numpy()
    rows = np.arange(len(logits))
    counts = np.full(len(logits), 1 / len(logits)) if weights is None else (weights / weights.sum()).numpy()

    def loss(log_factor: float) -> float:
        return -float(log_softmax(math.exp(log_factor) * logits, axis=1)[rows, labels.numpy()] @ counts)

    return math.exp(minimize_scalar(loss, bounds=(math.log(0.1), math.log(100.0)), method="bounded").x)
