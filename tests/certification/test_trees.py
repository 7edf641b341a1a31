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
from holomorph.threats.features import Features


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


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_a_radius_counts_in_the_eps_of_each_feature_and_frozen_ones_stay(norm):
    draws, size = np.random.default_rng(0), np.array([1.0, 10.0, 1.0])
    x, eps = draws.random((200, 3)) * size, torch.tensor([0.1, 2.0, 0.0])
    tree = DecisionTreeClassifier(max_depth=5, random_state=0).fit(x, draws.integers(0, 3, 200))
    rows, features = torch.from_numpy(x[:6]), Features(eps, torch.zeros(3), torch.from_numpy(size))
    threat, own = ThreatModel(norm, 1), tree.predict(x[:6])
    record = certify(tree, rows, own, threat, method="exact", features=features)
    free = torch.cartesian_prod(*(torch.linspace(0, top, 301).double() for top in (1.0, 10.0)))
    for row, r, label in zip(rows, record.threats[0].radii, own, strict=True):
        points = torch.cat([free, row[2].expand(len(free), 1)], 1)
        other = torch.from_numpy(tree.predict(points.numpy()) != label)
        nearest = ((points - row)[:, :2] / eps[:2]).norm(threat.p, 1)[other].min()
        assert r <= nearest <= r + 0.1  # the grid's steps are 0.033 and 0.017 units


def test_trees_are_certified_and_forests_are_refused_in_words():
    x, y = np.array([[0.1], [0.4], [0.6], [0.9]]), np.array(["no", "no", "yes", "yes"])
    record = certify(DecisionTreeClassifier().fit(x, y), x, y, threat=["inf:0.2", "inf:0.05"])
    assert [part.proved for part in record.threats] == [0.5, 1.0]
    assert set(record.threats[0].proved_by) == {"exact"}
    with pytest.raises(ModelError, match="DecisionTreeClassifier was fitted to one class, so no attack can change"):
        certify(DecisionTreeClassifier().fit(x, ["no"] * 4), x, ["no"] * 4, threat="inf:0.2")
    with pytest.raises(ModelError, match="The model is known by its outputs alone"):
        certify(RandomForestClassifier(3).fit(x, y), x, y, threat="inf:0.2")
