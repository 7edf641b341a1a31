"""What both estimators do: check data, number the labels, train a network, turn logits into predictions."""

from abc import abstractmethod
from typing import Any, Self

import numpy as np
import torch
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data
from torch import Tensor, nn

from holomorph._utils.devices import has_doubles
from holomorph.contract import as_threat, gradients
from holomorph.errors import DataError
from holomorph.records.training import TrainRecord
from holomorph.rules.base import Rule
from holomorph.threats import ThreatModel
from holomorph.training.devices import one_device
from holomorph.training.fit import fit
from holomorph.training.weights import weights_of


class TorchClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A classifier whose fitted form is ``model_``, a torch module from inputs (batch, n) to logits, in float64."""

    model_: nn.Module
    classes_: np.ndarray
    class_weight: Any
    random_state: Any

    epochs: int
    batch_size: int
    lr: float

    @gradients()
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to features (samples, n) and labels (samples,), each sample counting as its weight says."""
        x, labels, seed = self._check_training(X, y)
        self.model_ = self._train(x, labels, self._check_weights(labels, sample_weight), seed)
        return self

    @abstractmethod
    def _train(self, x: Tensor, labels: Tensor, weights: Tensor | None, seed: int) -> nn.Module:
        """The fitted module."""

    def _fit(
        self, model: nn.Module, x: Tensor, labels: Tensor, rule: Rule, seed: int, weights: Tensor | None
    ) -> TrainRecord:
        """Train a network in float64, on an accelerator that has it; it ends in evaluation mode on the CPU."""
        fabric = one_device("auto")
        record = fit(model.double(), (x, labels), rule, epochs=self.epochs, batch_size=min(self.batch_size, len(x)),
                     lr=self.lr, seed=seed, sample_weight=weights,
                     fabric=fabric if has_doubles(fabric.device) else one_device("cpu"))  # fmt: skip
        model.cpu().eval()
        return record

    def predict(self, X: Any) -> np.ndarray:
        """The label with the largest logit."""
        best = self._logits(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Softmax of the logits, (samples, classes)."""
        return np.exp(log_softmax(self._logits(X), axis=1))

    def decision_function(self, X: Any) -> np.ndarray:
        """Half the difference of the logits, (samples,), for two classes; the logits, (samples, classes), for more."""
        logits = self._logits(X)
        return (logits[:, 1] - logits[:, 0]) / 2 if len(self.classes_) == 2 else logits

    def _check_training(self, X: Any, y: Any) -> tuple[Tensor, Tensor, int]:
        """Samples, labels 0..K-1 and a seed; scikit-learn asks for ValueError where data cannot be used."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs samples of at least two classes; there is one class only.")
        seed = int(check_random_state(self.random_state).randint(2**31))
        return torch.tensor(X), torch.tensor(labels), seed

    def _check_weights(self, labels: Tensor, sample_weight: Any) -> Tensor | None:
        """The weight of each sample times that of its class, which the user knows by its own label."""
        given = self.class_weight
        if isinstance(given, dict):
            given = {k: given.get(label, 1.0) for k, label in enumerate(self.classes_.tolist())}
        try:
            return weights_of(labels, sample_weight, given)
        except DataError as error:
            raise ValueError(str(error)) from None  # which scikit-learn asks for

    def _check_inputs(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return torch.tensor(validate_data(self, X, dtype=np.float64, reset=False))

    def _logits(self, X: Any) -> np.ndarray:
        x = self._check_inputs(X)
        with torch.no_grad():
            return torch.cat([self.model_(part) for part in torch.split(x, 1024)]).numpy()


def learned_threat(x: Tensor, norm: str | float, eps: float, box: tuple[float, float] | None) -> ThreatModel:
    """The threat model in the units of the features, in the box given or in that of the data.

    Warns
    -----
    HolomorphWarning
        If eps is below a thousandth of the widest range.
    """
    if box is None:
        low, high = float(x.min()), float(x.max())
        box = (low, high) if high - low >= eps else (low - eps, high + eps)
    return as_threat(ThreatModel(norm, eps, box))
