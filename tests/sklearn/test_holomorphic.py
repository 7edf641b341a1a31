import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris, load_wine, make_blobs, make_moons
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from holomorph.errors import ConfigError
from holomorph.exact import FockKernel
from holomorph.sklearn import HolomorphicClassifier


def test_works_in_pipelines_searches_and_cross_validation():
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), HolomorphicClassifier())
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.95
    search = GridSearchCV(pipeline, {"holomorphicclassifier__weight": [0.0, 1.0]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.93


def test_digits_are_learned_and_certified():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    clf = HolomorphicClassifier(weight=2.0).fit(X[:900], y[:900])
    assert clf.score(X[900:1200], y[900:1200]) > 0.93
    radius = clf.certified_radius(X[900:1000])
    assert np.median(radius) > 0.3
    assert np.all(clf.certified_radius(X[900:1000], norm="inf") <= radius)


@pytest.mark.parametrize("solver", ["fock", "polynomial"])
def test_no_random_or_adversarial_step_of_the_certified_length_changes_the_label(solver):
    X, y = load_iris(return_X_y=True)
    clf = HolomorphicClassifier(solver, ridge=1e-3).fit(X, y)
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(100, *X.shape))
    steps *= 0.99 * clf.certified_radius(X)[:, None] / np.linalg.norm(steps, axis=2, keepdims=True)
    predicted = clf.predict(X)
    assert all(np.array_equal(clf.predict(X + step), predicted) for step in steps)
    corners = 0.99 * clf.certified_radius(X, "inf")[:, None] * rng.choice([-1, 1], size=(100, *X.shape))
    assert all(np.array_equal(clf.predict(X + step), predicted) for step in corners)


def test_the_support_vector_machine_and_random_features_are_certified_too():
    X, y = load_iris(return_X_y=True)
    machine = HolomorphicClassifier(loss="hinge", ridge=1e-3).fit(X, y)
    features = HolomorphicClassifier(landmarks=40, random_state=0).fit(X, y)
    assert len(machine.model_.solver.points) < len(X)
    assert len(features.model_.solver.points) == 40
    for clf in (machine, features):
        assert clf.score(X, y) > 0.95
        radius = clf.certified_radius(X)
        assert np.median(radius) > 0.02
        towards = X[np.argsort(y + 0.5 * (y == 0), kind="stable")][::-1] - X  # steps towards samples of other classes
        steps = 0.99 * radius[:, None] * towards / np.linalg.norm(towards, axis=1, keepdims=True).clip(1e-12)
        np.testing.assert_array_equal(clf.predict(X + steps), clf.predict(X))


def test_many_samples_in_the_plane_are_fitted_and_certified_by_default(monkeypatch):
    monkeypatch.setattr(FockKernel, "max_samples", 250)
    X, y = make_moons(300, noise=0.1, random_state=0)
    clf = HolomorphicClassifier().fit(X, y)
    assert clf.score(X, y) > 0.85
    angles = np.arange(16) * np.pi / 8
    steps = 0.99 * clf.certified_radius(X)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)[:, None]
    assert all(np.array_equal(clf.predict(X + step), clf.predict(X)) for step in steps)


def test_relative_values_without_energy_predict_like_the_gaussian_kernel_and_are_certified():
    X, y = load_iris(return_X_y=True)
    clf = HolomorphicClassifier(relative=True, weight=0.0, scale=0.5, ridge=1e-3).fit(X, y)
    gamma = 0.5 / float(clf.model_.solver.unit) ** 2
    oracle = KernelRidge(alpha=len(X) * 1e-3, kernel="rbf", gamma=gamma).fit(X, np.eye(3)[y])
    np.testing.assert_array_equal(clf.predict(X), oracle.predict(X).argmax(1))
    assert np.median(clf.certified_radius(X)) > 0.1
    np.testing.assert_allclose(clf.predict_proba(X).sum(1), 1.0)


def test_survives_pickling():
    X, y = load_iris(return_X_y=True)
    clf = HolomorphicClassifier("polynomial", degree=2).fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


def test_features_far_from_zero_are_predicted_as_they_were_trained():
    X, y = make_blobs(90, centers=3, cluster_std=0.5, random_state=0)
    near, far = (
        HolomorphicClassifier("network", width=8, epochs=20, random_state=0).fit(shifted, y).score(shifted, y)
        for shifted in (0.01 * X, 0.01 * X + 1e6)
    )
    assert near > 0.9
    assert far == pytest.approx(near, abs=0.05)


def test_labels_may_be_text_and_probabilities_sum_to_one():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    clf = HolomorphicClassifier(codes="roots").fit(X, names)
    assert set(clf.predict(X)) == set(names)
    np.testing.assert_allclose(clf.predict_proba(X).sum(1), 1.0)


def test_refuses_what_it_cannot_do():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ConfigError, match="Did you mean 'fock'"):
        HolomorphicClassifier("fok").fit(X, y)
    with pytest.raises(ConfigError, match="two classes, not 3"):
        HolomorphicClassifier(codes="signs").fit(X, y)
