"""Estimators of scikit-learn whose formula is known, as modules with gradients."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC
from torch import nn

_LINEAR = (LogisticRegression, LogisticRegressionCV, Perceptron, RidgeClassifier, RidgeClassifierCV, SGDClassifier,
           LinearSVC, LinearDiscriminantAnalysis)  # fmt: skip
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


def as_module(estimator: Any) -> nn.Module | None:
    """A fitted estimator as a module of double precision that maps the same samples to logits; None if it has none.

    Linear classifiers and multilayer perceptrons of scikit-learn and every estimator of this package have one, behind
    scalers and principal components in a pipeline too, and as the best estimator of a search.

    >>> model = as_module(LogisticRegression().fit([[-1.0], [1.0]], [0, 1]))
    >>> model(torch.tensor([[0.5]]).double()).argmax(1)
    tensor([1])
    """
    estimator = getattr(estimator, "best_estimator_", estimator)
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    own = getattr(steps[-1], "model_", None)
    if len(steps) == 1 and isinstance(own, nn.Module):
        return own
    try:
        layers: list[nn.Module] = [_transform(step) for step in steps[:-1] if step != "passthrough"]
        layers += [own] if isinstance(own, nn.Module) else list(_classifier(steps[-1]))
    except NotImplementedError:
        return None
    return nn.Sequential(*layers).eval()


def _linear(weight: Any, bias: Any) -> nn.Linear:
    rows, columns = weight.shape
    layer = nn.Linear(columns, rows, dtype=torch.float64, device="meta").to_empty(device="cpu")  # draws no numbers
    layer.weight.data.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
    layer.bias.data.copy_(torch.from_numpy(np.broadcast_to(bias, rows).copy()))
    return layer


def _transform(step: Any) -> nn.Linear:
    n = getattr(step, "n_features_in_", 0)
    if isinstance(step, StandardScaler):
        mean = step.mean_ if step.with_mean else np.zeros(n)
        scale = step.scale_ if step.with_std else np.ones(n)
        return _linear(np.diag(1 / scale), -mean / scale)
    if isinstance(step, MinMaxScaler) and not step.clip:
        return _linear(np.diag(step.scale_), step.min_)
    if isinstance(step, MaxAbsScaler):
        return _linear(np.diag(1 / step.scale_), np.zeros(n))
    if isinstance(step, PCA) and not step.whiten:
        return _linear(step.components_, -step.components_ @ step.mean_)
    raise NotImplementedError


def _classifier(step: Any) -> Iterator[nn.Module]:
    if isinstance(step, _LINEAR):
        yield _scores(np.atleast_2d(step.coef_), step.intercept_)
    elif isinstance(step, MLPClassifier) and step.out_activation_ in ("softmax", "logistic"):
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
