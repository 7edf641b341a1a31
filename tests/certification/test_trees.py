"""Trees: no point inside the radius changes the prediction, and a point just outside does."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from holomorph.certification.certify import certify
from holomorph.certification.trees import tree_radius
from holomorph.errors import ModelError
from holomorph.threats import ThreatModel


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_the_radius_is_the_distance_to_the_nearest_other_prediction(norm):
    draws = np.random.default_rng(0)
    x, y = draws.random((200, 2)), draws.integers(0, 3, 200)
    tree, threat = DecisionTreeClassifier(max_depth=6).fit(x, y), ThreatModel(norm, 0.1)
    rows = torch.from_numpy(draws.random((20, 2)))
    radius = tree_radius(tree, rows, threat)
    side = torch.linspace(0, 1, 1001).double()
    grid = torch.cartesian_prod(side, side)
    predictions = torch.from_numpy(tree.predict(grid.numpy()))
    for row, r, own in zip(rows, radius, tree.predict(rows.numpy()), strict=True):
        nearest = (grid - row).norm(threat.p, 1)[predictions != int(own)].min()
        assert r <= nearest <= r + 0.002  # the grid's step is 0.001


def test_trees_are_certified_and_forests_are_refused_in_words():
    x, y = np.array([[0.1], [0.4], [0.6], [0.9]]), np.array(["no", "no", "yes", "yes"])
    record = certify(DecisionTreeClassifier().fit(x, y), x, y, threat=["inf:0.2", "inf:0.05"])
    assert [part.proved for part in record.threats] == [0.5, 1.0]
    assert set(record.threats[0].proved_by) == {"exact"}
    with pytest.raises(ModelError, match="DecisionTreeClassifier was fitted to one class, so no attack can change"):
        certify(DecisionTreeClassifier().fit(x, ["no"] * 4), x, ["no"] * 4, threat="inf:0.2")
    with pytest.raises(ModelError, match="The model is known by its outputs alone"):
        certify(RandomForestClassifier(3).fit(x, y), x, y, threat="inf:0.2")
