import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine, make_moons
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from holomorph.errors import ConfigError, DataError, HolomorphWarning
from holomorph.evaluation.evaluate import evaluate
from holomorph.sklearn import HolomorphicClassifier, RobustClassifier


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["plain", "dirichlet(weight=0.5)", "pgd(steps=2)"])
def test_moons_are_learned_by_any_rule(rule):
    X, y = make_moons(120, noise=0.1, random_state=0)
    clf = RobustClassifier(rule, eps=0.1, width=16, epochs=40, batch_size=16, random_state=0).fit(X, y)
    assert clf.score(X, y) > 0.9
    assert clf.threat_.box == pytest.approx((0, np.ptp(X / X.std(0), axis=0).max()))
    assert clf.threat_.features.eps.tolist() == pytest.approx(X.std(0).tolist())
    assert clf.record_.epochs == 40


@pytest.mark.slow
def test_the_rule_flattens_the_hypothesis_around_the_samples():
    """Where a step of eps in the worst of 8 directions changes the margin less than after plain training."""
    X, y = make_moons(120, noise=0.1, random_state=0)

    def change(rule):
        clf = RobustClassifier(
            rule, eps=0.2, eps_unit="feature", norm=2, width=16, epochs=40, batch_size=16, random_state=0
        ).fit(X, y)
        angles = np.arange(8) * np.pi / 4
        steps = 0.2 * np.stack([np.cos(angles), np.sin(angles)], 1)
        here = clf.decision_function(X)
        return max(np.abs(clf.decision_function(X + step) - here).mean() for step in steps)

    assert change("dirichlet") < 0.8 * change("plain")


def test_the_first_layer_standardises_features_far_from_zero():
    X, y = make_moons(60, noise=0.1, random_state=0)
    far = 0.01 * X + 1e6
    clf = RobustClassifier("plain", width=4, epochs=1, random_state=0).fit(far, y)
    unit = clf.model_[0](torch.tensor(far))
    torch.testing.assert_close(unit.mean(0), torch.zeros(2).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(unit.std(0, correction=0), torch.ones(2).double(), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_works_in_pipelines_and_searches_and_survives_pickling():
    X, y = load_wine(return_X_y=True)
    clf = RobustClassifier(epochs=15, width=16, batch_size=16, random_state=0)
    search = GridSearchCV(make_pipeline(StandardScaler(), clf), {"robustclassifier__eps": [0.05, 0.2]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.9
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))


def test_the_same_seed_gives_the_same_numbers():
    X, y = make_moons(60, noise=0.1, random_state=0)
    one, two, other = (RobustClassifier(epochs=2, random_state=s).fit(X, y).predict_proba(X) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)


def test_the_holomorphic_network_learns_moons_and_has_no_certificate():
    X, y = make_moons(80, noise=0.1, random_state=0)
    clf = HolomorphicClassifier("network", embedding="pairing", width=8, epochs=30, eps=0.1, weight=0.1, random_state=0)
    assert clf.fit(X, y).score(X, y) > 0.85
    with pytest.raises(ConfigError, match="no certificate"):
        clf.certified_radius(X)


def test_data_outside_the_stated_box_and_unknown_rules_are_refused():
    X, y = make_moons(40, noise=0.1, random_state=0)
    with pytest.raises(DataError, match=r"outside the box \[0, 1\]"):
        RobustClassifier(box=(0.0, 1.0)).fit(X, y)
    with pytest.raises(ConfigError, match="Did you mean 'dirichlet'"):
        RobustClassifier("dirichle").fit(X, y)


@pytest.mark.slow
def test_eps_counts_in_standard_deviations_of_each_feature():
    """Income in thousands of euros and age in decades: the same classifier as for one unit each."""
    X, y = make_moons(80, noise=0.1, random_state=0)
    scaled = X * [1e3, 1e-2]
    one, other = (RobustClassifier(epochs=30, width=16, random_state=0).fit(part, y) for part in (X, scaled))
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(scaled), rtol=1e-6)
    record = evaluate(other, scaled, y, quick=True, checks=False)
    assert 0 < record.robust <= record.clean
    with pytest.warns(HolomorphWarning, match="less than a thousandth of the box"):
        RobustClassifier(epochs=1, width=4, eps_unit="feature").fit(scaled, y)
    with pytest.raises(ConfigError, match="Unknown unit of eps"):
        RobustClassifier(eps_unit="euro").fit(X, y)
