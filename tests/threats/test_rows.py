"""Possible rows of a table: whatever is proposed, what comes back keeps every constraint and stays in the ball."""

import math

import numpy as np
import pytest
import torch

from holomorph.errors import DataError
from holomorph.evaluation.attack import attack
from holomorph.evaluation.audit import audit
from holomorph.evaluation.evaluate import evaluate
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import clip, into, settle
from holomorph.threats.features import Features

D = torch.float64

#: Three numbers, one of them only rising; two whole numbers; a category of three; one frozen; x0 + x1 = x2, x3 <= x4.
NAMES = ["a", "b", "sum", "count", "most", "red", "green", "blue", "frozen"]
MATRIX = torch.tensor([[1, 1, -1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, -1, 0, 0, 0, 0]], dtype=D)


def table(**changes):
    settings = {
        "eps": torch.tensor([0.3, 0.2, 0.5, 2, 1, 1, 1, 1, 0], dtype=D),
        "low": torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, -5], dtype=D),
        "high": torch.tensor([1, 1, 2, 9, 9, 1, 1, 1, 5], dtype=D),
        "direction": torch.tensor([1, 0, 0, 0, 0, 0, 0, 0, 0]),
        "whole": torch.tensor([0, 0, 0, 1, 1, 0, 0, 0, 0]),
        "groups": torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 0]),
        "matrix": MATRIX,
        "bound": torch.zeros(2),
        "equal": torch.tensor([True, False]),
    }
    return Features(**{**settings, **changes})


def rows(count, seed=0):
    generator = np.random.default_rng(seed)
    a, b = generator.uniform(0, 1, (2, count))
    most = generator.integers(0, 10, count)
    few = generator.integers(0, most + 1)
    colour = np.eye(3)[generator.integers(0, 3, count)]
    return torch.tensor(np.column_stack([a, b, a + b, few, most, colour, generator.normal(size=count)]))


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize("eps", [0.5, 1, 3])
def test_every_proposal_becomes_a_possible_row_inside_the_ball(norm, eps):
    features, x = table(), rows(400)
    threat = features.threat(ThreatModel(norm, eps, features.hull))
    u = features.encode(x)
    generator = torch.Generator().manual_seed(1)
    moved, jumped, counted = 0, 0, 0
    for scale in (0.1, 1.0, 5.0):
        proposal = u + scale * torch.randn(u.shape, generator=generator, dtype=D)
        found = settle(u, into(u, proposal, threat), threat, threat.radius)
        near = features.decode(found)
        assert features.possible(x, near).all()
        size = torch.linalg.vector_norm((found - u)[:, features.free], ord=threat.p, dim=1)
        assert (size <= threat.radius * (1 + 1e-6)).all()
        assert (near[:, 0] >= x[:, 0] - 1e-12).all()  # a change of units rounds
        assert torch.allclose(near[:, 8], x[:, 8], rtol=0, atol=1e-12)
        moved += int((near[:, :3] != x[:, :3]).any(1).sum())
        jumped += int((near[:, 5:8] != x[:, 5:8]).any(1).sum())
        counted += int((near[:, 3:5] != x[:, 3:5]).any(1).sum())
        free = features.decode(settle(u, clip(u, proposal, threat), threat))
        assert features.possible(x, free).all()
    assert moved > 300  # of 1200: relations and walls leave room
    assert (jumped > 50) == ((norm == "inf" and eps >= 1) or (norm == 2 and eps > 1.5) or (norm == 1 and eps > 2))
    assert counted > 20 or (eps == 0.5 and norm != "inf")  # one step of a whole number is half a unit


def test_a_possible_row_inside_the_ball_is_left_as_it_is():
    features, x = table(), rows(50)
    threat = features.threat(ThreatModel("inf", 1, features.hull))
    near = x.clone()
    near[:, 0] = (x[:, 0] + 0.1).clamp(max=1)
    near[:, 2] = near[:, 0] + near[:, 1]
    near[:, 5:8] = x[:, 5:8].roll(1, dims=1)
    u, proposal = features.encode(x), features.encode(near)
    assert torch.allclose(features.decode(settle(u, proposal, threat, threat.radius)), near, atol=1e-12)


def test_what_is_no_possible_row_is_seen():
    features, x = table(), rows(20)
    for column, change in ((0, -0.01), (3, 0.5), (5, 0.3), (8, 0.1), (2, 0.05), (4, -9.0), (1, 5.0)):
        near = x.clone()
        near[:, column] += change
        assert not features.possible(x, near).any(), NAMES[column]
    assert features.possible(x, x).all()


def test_data_that_break_their_own_constraints_are_refused():
    features, x = table(), rows(20)
    features.check(x)
    for column, change, sentence in (
        (3, 0.5, "Row 7 holds a fraction in a feature of whole numbers"),
        (5, -0.5, "Row 7 has not exactly one 1 in a one-hot group"),
        (2, -0.4, "Row 7 breaks a relation"),
    ):
        bad = x.clone()
        bad[7, column] = (bad[7, column] + change).abs()
        with pytest.raises(DataError, match=sentence):
            features.check(bad)
    with pytest.raises(DataError, match="need 9 numbers, one a feature"):
        table(whole=torch.zeros(4))
    with pytest.raises(DataError, match="2 relations, 1 bounds and 2 entries"):
        table(bound=torch.zeros(1))


class Linear(torch.nn.Module):
    """A plane through the middle of the table."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([2, 1, -1, 0.4, 0.1, 0.8, -0.5, 0, 3], dtype=D))

    def forward(self, x):
        gap = (x - torch.tensor([0.5, 0.5, 1, 3, 5, 0.3, 0.3, 0.3, 0], dtype=D)) @ self.weight
        return torch.stack([gap, -gap], 1)


def test_an_evaluation_keeps_the_constraints_and_the_audit_asks_for_them(tmp_path):
    features, x, model = table(), rows(40), Linear()
    y = model(x).argmax(1)
    record = evaluate(model, x, y, threat=ThreatModel("inf", 1, features.hull), features=features, quick=True,
                      checks=False, out=tmp_path)  # fmt: skip
    assert 0 < record.robust < record.clean == 1
    assert Features.recorded(record.features, (9,)).record() == features.record()
    with np.load(tmp_path / "evaluation.npz") as kept:
        arrays = dict(kept)
    hit = np.isfinite(arrays["smallest_0"])
    assert hit.any()
    assert features.possible(x, torch.tensor(arrays["adversarial_0"]))[hit].all()
    assert audit(record, model, tmp_path).passed
    arrays["adversarial_0"][hit, 3] += 0.4
    np.savez(tmp_path / "evaluation.npz", **arrays)
    assert any("break the constraints" in line for line in audit(record, model, tmp_path).discrepancies)


def test_one_attack_keeps_them_too():
    features, x, model = table(), rows(40), Linear()
    found = attack(model, x, model(x).argmax(1), threat=ThreatModel("inf", 1, features.hull), features=features)
    assert found.broken.any()
    assert features.possible(x, found.adversarial).all()
    assert math.isfinite(float(found.distance[found.broken].max()))


def test_constraints_go_through_a_file(tmp_path):
    features = table()
    names = ("eps", "low", "high", "direction", "whole", "groups", "matrix", "bound", "equal")
    np.savez(tmp_path / "features.npz", **{name: getattr(features, name).numpy() for name in names})
    assert Features.load(tmp_path / "features.npz").record() == features.record()
