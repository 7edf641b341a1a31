"""Estimators of scikit-learn as classifiers of tensors."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holomorph.contract.model import Differentiable
from holomorph.errors import ConfigError, DataError, ModelError
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import FeatureThreat

#: Added to probabilities before their logarithm is taken: trees give zeros.
_LEAST = 1e-12


def is_estimator(model: Any) -> bool:
    """Whether this predicts as an estimator does and is no module."""
    return not isinstance(model, nn.Module) and callable(getattr(model, "predict", None))


def names_by(estimator: Any) -> tuple[str, ...]:
    """Names of the classes of a fitted estimator.

    >>> from sklearn.tree import DecisionTreeClassifier
    >>> names_by(DecisionTreeClassifier().fit([[0.0], [1.0]], ["no", "yes"]))
    ('no', 'yes')
    """
    return tuple(map(str, getattr(estimator, "classes_", ())))


def taken_apart(estimator: Any, x: Any, y: Any) -> tuple[Differentiable, Any, Any]:
    """The classifier inside a fitted estimator, and the labels as its class indices.

    One whose formula is known becomes a module (see :func:`~holomorph.contract.formulas.as_module`); any other is a
    function without gradients, for attacks that need none.

    Raises
    ------
    ModelError
        For one that was not fitted, knows one class only or has no probabilities.
    DataError
        For labels that it does not know.

    >>> from sklearn.tree import DecisionTreeClassifier
    >>> tree = DecisionTreeClassifier().fit([[0.0], [1.0]], ["no", "yes"])
    >>> model, x, y = taken_apart(tree, [[1.0]], ["yes"])
    >>> int(model(torch.tensor([[1.0]])).argmax(1)), y.tolist()
    (1, [1])
    """
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise ModelError(f"{type(estimator).__name__} is not fitted, or no classifier. Call fit first.")
    if len(classes) < 2:
        raise ModelError(f"{type(estimator).__name__} was fitted to one class, so no attack can change its prediction.")
    if y is not None:
        y = _indices(np.asarray(y), np.asarray(classes))
    from holomorph.contract.formulas import as_module  # imports scikit-learn, which who has an estimator has imported

    network = as_module(estimator)
    return (BlackBox(estimator) if network is None else network), x, y


def trained_for(estimator: Any, x: Any) -> tuple[Any, Any, ThreatModel]:
    """A fitted estimator, what it takes and the threat it was trained for; of a pipeline its last step, in its units.

    Samples held out may lie outside the range of the training samples; the walls are then moved out to them.

    Raises
    ------
    ConfigError
        For an estimator that was trained for no threat.
    """
    last = estimator
    if hasattr(estimator, "steps"):
        last, x = estimator[-1], estimator[:-1].transform(x)
    threat = getattr(last, "threat_", None)
    if not isinstance(threat, ThreatModel):
        raise ConfigError(f"{type(last).__name__} was trained for no threat. Give one, for instance 'inf:0.1'.")
    rows = torch.from_numpy(np.array(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float64))
    if isinstance(threat, FeatureThreat):
        features, (least, most) = threat.features, torch.aminmax(rows, dim=0)
        features = replace(features, low=features.low.minimum(least), high=features.high.maximum(most))
        return last, rows, features.threat(threat)
    low, high = threat.box
    box = min(low, float(rows.min())), max(high, float(rows.max()))
    return last, rows, threat.model_copy(update={"box": box})


class BlackBox:
    """A fitted estimator as a function from tensors to logits, without gradients."""

    differentiable = False

    def __init__(self, estimator: Any) -> None:
        if not callable(getattr(estimator, "predict_proba", None)):
            raise ModelError(f"{type(estimator).__name__} has no predict_proba. Give one with class probabilities.")
        self.estimator = estimator

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logarithms of the probabilities."""
        found = self.estimator.predict_proba(x.detach().cpu().numpy())
        return torch.from_numpy(np.log(np.asarray(found) + _LEAST)).to(x)

    def __repr__(self) -> str:
        """Name the estimator with its settings."""
        return f"BlackBox({self.estimator!r})"


def _indices(y: Any, classes: Any) -> Any:
    places = np.searchsorted(classes, y).clip(0, len(classes) - 1)
    if not bool((classes[places] == y).all()):
        unknown = next(label for label, place in zip(y, places, strict=True) if classes[place] != label)
        raise DataError(f"The label {str(unknown)!r} is none of the estimator's: {', '.join(map(str, classes))}.")
    return places.astype(np.int64)
