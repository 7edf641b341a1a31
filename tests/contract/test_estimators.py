"""Estimators of scikit-learn as modules: the same predictions and probabilities, and radii in closed form."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris, make_classification
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC

from holomorph.contract.estimators import as_module
from holomorph.contract.model import precision
from holomorph.sklearn import RobustClassifier

THREE = load_iris(return_X_y=True)
TWO = make_classification(120, 6, random_state=0)
OPENED = [
    LogisticRegression(max_iter=1000),
    LinearSVC(),
    RidgeClassifier(),
    SGDClassifier(random_state=0),
    LinearDiscriminantAnalysis(),
    MLPClassifier((7, 5), activation="tanh", max_iter=60, random_state=0),
    MLPClassifier((7,), activation="logistic", max_iter=60, random_state=0),
    make_pipeline(StandardScaler(), PCA(3), MLPClassifier((7,), max_iter=60, random_state=0)),
    make_pipeline(MinMaxScaler((-1, 2)), MaxAbsScaler(), StandardScaler(with_mean=False), LogisticRegression()),
    make_pipeline("passthrough", StandardScaler(with_std=False), LinearSVC()),
    GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1.0]}),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("data", [THREE, TWO], ids=["three classes", "two classes"])
@pytest.mark.parametrize("estimator", OPENED, ids=lambda e: str(e).split("\n")[0][:40])
def test_the_module_predicts_as_the_estimator(estimator, data):
    x, y = data
    fitted = estimator.fit(x, y)
    state = torch.get_rng_state()
    model = as_module(fitted)
    assert torch.equal(torch.get_rng_state(), state)
    logits = model(torch.from_numpy(x))
    assert (fitted.classes_[logits.argmax(1).numpy()] == fitted.predict(x)).all()
    if hasattr(fitted, "predict_proba"):
        assert np.abs(logits.softmax(1).detach().numpy() - fitted.predict_proba(x)).max() < 1e-12


@pytest.mark.parametrize(
    "estimator",
    [RandomForestClassifier(3), SVC(kernel="linear"), make_pipeline(PCA(2, whiten=True), LogisticRegression()),
     make_pipeline(MinMaxScaler(clip=True), LogisticRegression())],
    ids=["forest", "one against one", "whitened", "clipped"],
)  # fmt: skip
def test_what_has_no_such_formula_stays_a_black_box(estimator):
    assert as_module(estimator.fit(*THREE)) is None


def test_a_network_of_ours_behind_a_scaler_keeps_its_precision_and_its_mode():
    fitted = make_pipeline(StandardScaler(), RobustClassifier(epochs=2)).fit(*THREE)
    fitted[-1].model_.train()
    logits = as_module(fitted)(torch.from_numpy(THREE[0]).to(precision(fitted[-1].model_)))
    assert fitted[-1].model_.training
    assert (fitted.classes_[logits.argmax(1).numpy()] == fitted.predict(THREE[0])).mean() > 0.98
    assert as_module(type("Mine", (LogisticRegression,), {})(max_iter=1000).fit(*THREE)) is None
