"""Estimators of scikit-learn as classifiers of tensors; those whose formula is known are modules with gradients.

Only who has an estimator needs this file, for it imports scikit-learn.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn import linear_model as linear
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from holomorph.contract.model import Differentiable, precision
from holomorph.contract.threats import ThreatsLike
from holomorph.errors import ConfigError, DataError, ModelError
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import FeatureThreat

#: Added to probabilities before their logarithm is taken: trees give zeros.
_LEAST = 1e-12

_LINEAR = (linear.LogisticRegression, linear.LogisticRegressionCV, linear.Perceptron, linear.RidgeClassifier,
           linear.RidgeClassifierCV, linear.SGDClassifier, LinearSVC, LinearDiscriminantAnalysis)  # fmt: skip
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity, "logistic": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU,
}  # fmt: skip


class Opened(NamedTuple):
    """A classifier of tensors, samples and their class indices, threats, and the names of the classes."""

    model: Differentiable
    x: Any
    y: Any
    threats: ThreatsLike
    names: tuple[str, ...]


def opened(estimator: Any, x: Any, y: Any, threats: ThreatsLike) -> Opened:
    """Take a fitted estimator apart, and its labels; without any threat it has the one that it was trained for."""
    if y is None and isinstance(x, tuple | list) and len(x) == 2:
        x, y = x
    names = tuple(map(str, getattr(estimator, "classes_", ())))
    if not threats:
        estimator, x, threats = trained_for(estimator, x)
    model, y = taken_apart(estimator, y)
    return Opened(model, x, y, threats, names)


def taken_apart(estimator: Any, y: Any) -> tuple[Differentiable, Any]:
    """The classifier inside a fitted estimator, and the labels as its class indices.

    One whose formula is known becomes a module (see :func:`as_module`); any other is a
    function without gradients, for attacks that need none.

    Raises
    ------
    ModelError
        For one that was not fitted, knows one class only or has no probabilities.
    DataError
        For labels that it does not know.

    >>> from sklearn.tree import DecisionTreeClassifier
    >>> tree = DecisionTreeClassifier().fit([[0.0], [1.0]], ["no", "yes"])
    >>> model, y = taken_apart(tree, ["yes"])
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
    network = as_module(estimator)
    return (BlackBox(estimator) if network is None else network), y


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


def as_module(estimator: Any) -> nn.Module | None:
    """A fitted estimator as a module of double precision that maps the same samples to logits; None if it has none.

    Linear classifiers and multilayer perceptrons of scikit-learn and every estimator of this package have one, behind
    scalers and principal components in a pipeline too, and as the best estimator of a search.

    >>> model = as_module(linear.LogisticRegression().fit([[-1.0], [1.0]], [0, 1]))
    >>> model(torch.tensor([[0.5]]).double()).argmax(1)
    tensor([1])
    """
    estimator = getattr(estimator, "best_estimator_", estimator)
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    own = getattr(steps[-1], "model_", None)
    if len(steps) == 1 and isinstance(own, nn.Module):
        return own
    try:
        before = [_transform(step) for step in steps[:-1] if step != "passthrough"]
        after = [own] if isinstance(own, nn.Module) else list(_classifier(steps[-1]))
    except NotImplementedError:
        return None
    dtype = precision(after[0]) or torch.float64  # the guest keeps its own precision, and its mode
    return nn.Sequential(*(layer.to(dtype) for layer in before), *after)


def _linear(weight: Any, bias: Any) -> nn.Linear:
    rows, columns = weight.shape
    layer = nn.Linear(columns, rows, dtype=torch.float64, device="meta").to_empty(device="cpu")  # draws no numbers
    layer.weight.data.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
    layer.bias.data.copy_(torch.from_numpy(np.broadcast_to(bias, rows).copy()))
    return layer


def _transform(step: Any) -> nn.Linear:
    n = getattr(step, "n_features_in_", 0)
    kind = type(step)  # a class derived from it may predict otherwise
    if kind is StandardScaler:
        mean = step.mean_ if step.with_mean else np.zeros(n)
        scale = step.scale_ if step.with_std else np.ones(n)
        return _linear(np.diag(1 / scale), -mean / scale)
    if kind is MinMaxScaler and not step.clip:
        return _linear(np.diag(step.scale_), step.min_)
    if kind is MaxAbsScaler:
        return _linear(np.diag(1 / step.scale_), np.zeros(n))
    if kind is PCA and not step.whiten:
        return _linear(step.components_, -step.components_ @ step.mean_)
    raise NotImplementedError


def _classifier(step: Any) -> Iterator[nn.Module]:
    if type(step) in _LINEAR:
        yield _scores(np.atleast_2d(step.coef_), step.intercept_)
    elif type(step) is MLPClassifier and step.out_activation_ in ("softmax", "logistic"):
        *hidden, last = zip(step.coefs_, step.intercepts_, strict=True)
        for weight, bias in hidden:
            yield _linear(weight.T, bias)
            yield _ACTIVATIONS[step.activation]()
        yield _scores(last[0].T, last[1])
    else:
        raise NotImplementedError


def _scores(weight: Any, bias: Any) -> nn.Linear:
    """The last layer; the one score z of two classes becomes the logits -z/2 and z/2."""
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.array([-1.0, 1.0]) * bias / 2
    return _linear(weight, bias)
