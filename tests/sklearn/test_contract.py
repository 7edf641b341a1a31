"""What every classifier in the registry must keep to: a new entry is found here by itself."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.utils.estimator_checks import parametrize_with_checks

from holomorph.sklearn import CLASSIFIERS, HolomorphicClassifier

X, Y = make_moons(60, noise=0.1, random_state=0)
SMALL = {"epochs": 6, "width": 16, "depth": 1, "lr": 0.03, "random_state": 0}


def small(kind):
    """An estimator with its defaults, but for what makes a training long."""
    made = kind()
    return made.set_params(**{name: value for name, value in SMALL.items() if name in made.get_params()})


@pytest.mark.slow
@parametrize_with_checks(
    [
        *(small(kind) for kind in CLASSIFIERS),
        HolomorphicClassifier("fock", embedding="pairing", ridge=1e-6),
        HolomorphicClassifier(relative=True, loss="squared-hinge"),
        HolomorphicClassifier("polynomial", degree=2, eps=0.1, random_state=0),
        HolomorphicClassifier("network", width=8, depth=1, epochs=5, lr=0.1, weight=0.1, random_state=0),
    ],
    expected_failed_checks=lambda made: (
        {}
        if getattr(made, "solver", "") == "fock"
        else {"check_sample_weight_equivalence_on_dense_data": "batches, or the points of the energy, are drawn"}
    ),
)
def test_obeys_every_rule_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_names_of_classes_probabilities_copies_and_pickles(kind):
    names = np.array(["no", "yes"])[Y]
    fitted = small(kind).fit(X, names)
    assert set(fitted.predict(X)) <= {"no", "yes"}
    assert fitted.score(X, names) > 0.6
    np.testing.assert_allclose(fitted.predict_proba(X).sum(1), 1)
    for again in (pickle.loads(pickle.dumps(fitted)), clone(fitted).fit(X, names)):
        np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    with pytest.raises(ValueError, match="one class"):
        small(kind).fit(X, np.zeros(len(X)))
