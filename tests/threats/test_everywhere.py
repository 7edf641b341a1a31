"""One threat feature by feature: what rules, ``fit``, estimators, evaluations and certificates make of it."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from holomorph.certification import certify
from holomorph.errors import ConfigError, DataError
from holomorph.evaluation.attack import attack
from holomorph.evaluation.evaluate import evaluate
from holomorph.explanation.explain import explain
from holomorph.integrations.lightning import robust_accuracy
from holomorph.rules import RULES, FiniteEnergy
from holomorph.sklearn import RobustClassifier, RobustScorer
from holomorph.threats import ThreatModel, relative
from holomorph.threats.features import Features
from holomorph.training.fit import fit
from rule_cases import make

#: A feature in thousands that may only rise, a frozen one, a whole number, and a code of two.
FEATURES = Features(
    eps=torch.tensor([500.0, 0.0, 2.0, 1.0, 1.0]),
    low=torch.tensor([0.0, -7.0, 0.0, 0.0, 0.0]),
    high=torch.tensor([4000.0, 7.0, 9.0, 1.0, 1.0]),
    direction=torch.tensor([1, 0, 0, 0, 0]),
    whole=torch.tensor([0, 0, 1, 0, 0], dtype=torch.bool),
    groups=torch.tensor([0, 0, 0, 1, 1]),
)


def rows(count=60, seed=0):
    g = torch.Generator().manual_seed(seed)
    code = torch.randint(0, 2, (count,), generator=g)
    parts = [4000 * torch.rand(count, generator=g), 14 * torch.rand(count, generator=g) - 7,
             torch.randint(0, 10, (count,), generator=g), code, 1 - code]  # fmt: skip
    x = torch.stack([part.double() for part in parts], 1)
    return x, (x[:, 0] / 400 > x[:, 2]).long()


class Watched(nn.Module):
    """Keeps the points at which it is asked."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.seen = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2)).double(), []
        self.register_buffer("unit", torch.tensor([4000.0, 7.0, 9.0, 1.0, 1.0]).double())

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.net(x / self.unit)


@pytest.mark.parametrize("name", sorted(set(RULES) - {"certified"}))
@pytest.mark.parametrize("threat", ["inf:1", "2:1.5", "1:2"])
def test_no_rule_sees_a_point_that_nobody_can_reach(name, threat):
    model, (x, y) = Watched(), rows(12)
    rule = make(name, FEATURES.threat(threat), **({"sigma": 0.5} if name == "noise" else {}))
    rule(model, x, y).backward()
    assert all(p.grad is not None for p in model.net.parameters())
    threatened = rule.defends_against is not None
    for seen in (s for s in model.seen if len(s) == len(x) and threatened):
        assert (seen[:, 1] - x[:, 1]).abs().max() < 1e-9
        assert (seen[:, 0] - x[:, 0]).min() > -1e-6
        assert ((seen >= FEATURES.low - 1e-9) & (seen <= FEATURES.high + 1e-9)).all()


def test_the_bound_holds_at_every_possible_row():
    model, (x, y) = Watched(), rows(40)
    threat, x = _scaled("inf:1"), x / model.unit
    bound = RULES["certified"](threat, weight=1.0)(model.net, x, y)
    found = attack(model.net, x, y, threat=threat)
    assert bound >= nn.functional.cross_entropy(model.net(found.adversarial), y)
    assert bound > nn.functional.cross_entropy(model.net(x), y)


def test_training_attacks_and_proofs_share_it():
    model, (x, y) = Watched(), rows(120)
    threat = FEATURES.threat("inf:1")
    record = fit(model, (x, y), FiniteEnergy(threat), validation=rows(40, 1), epochs=15, lr=0.05)
    assert record.features == FEATURES.record()
    assert type(record.threat) is ThreatModel
    found = attack(model, x, y, threat=threat)
    assert FEATURES.possible(x, found.adversarial).all()
    assert found.broken.any()
    evaluated = evaluate(model.net, x / model.unit, y, _scaled("inf:1"), quick=True, checks=False)
    proved = certify(model.net, x[:20] / model.unit, y[:20], _scaled("inf:0.5"))
    assert evaluated.features is not None
    assert proved.threats[0].proved <= proved.clean
    assert robust_accuracy(model, x, y, FiniteEnergy(threat), 5)["robust"] < 1
    for call in (explain, evaluate):
        with pytest.raises((ConfigError, DataError), match=r"serves rules, fit|different features"):
            call(model, x, y, threat=threat if call is explain else [threat, _scaled("inf:1")])


def _scaled(threat):
    unit = Watched().unit
    return Features(FEATURES.eps / unit, FEATURES.low / unit, FEATURES.high / unit, FEATURES.direction).threat(threat)


def test_estimators_are_trained_and_attacked_within_it():
    x, y = rows(120)
    model = RobustClassifier(features=FEATURES, eps=1.0, epochs=3, width=16, random_state=0).fit(x.numpy(), y.numpy())
    again = pickle.loads(pickle.dumps(model))
    found = attack(again, x.numpy(), y.numpy())
    assert FEATURES.possible(x, found.adversarial).all()
    assert RobustScorer()(again, x.numpy(), y.numpy()) == pytest.approx(float((~found.broken).double().mean()))


@pytest.mark.slow
def test_a_data_frame_of_words_is_scored_behind_its_encoders():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 80, 120), "country": rng.choice(["de", "fr", "it"], 120)})
    y = np.where((frame.age > 45) ^ (frame.country == "de"), "yes", "no")
    encode = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(sparse_output=False), ["country"]))
    pipeline = make_pipeline(encode, RobustClassifier(epochs=6, width=16, random_state=0, class_weight="balanced"))
    assert (cross_val_score(pipeline, frame, y, cv=2, scoring=RobustScorer()) > 0.5).all()
    record = evaluate(pipeline.fit(frame, y), frame, y, quick=True, checks=False)
    assert record.class_names == ("no", "yes")
    assert 0 < record.robust <= record.clean
    tree = DecisionTreeClassifier().fit([[0.0], [1.0]], ["no", "yes"])
    with pytest.raises(ConfigError, match="DecisionTreeClassifier was trained for no threat"):
        evaluate(tree, [[0.0]], ["no"])


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_a_radius_for_embeddings_follows_their_unit_and_knows_classes(norm):
    texts = torch.randn(700, 3, generator=torch.Generator().manual_seed(0))
    labels, near = torch.arange(700) % 2, relative(texts, 0.3, norm=norm)
    assert relative(10 * texts, 0.3, norm=norm).radius == pytest.approx(10 * near.radius)
    assert relative(texts.repeat(2, 1), 0.3, norm=norm).radius == pytest.approx(near.radius)
    apart = torch.cdist(texts[labels == 0].double(), texts[labels == 1].double(), p=near.p)
    nearest = torch.cat([apart.amin(0), apart.amin(1)]).median()
    assert relative(texts, 0.3, labels=labels, norm=norm).radius == pytest.approx(0.3 * float(nearest))
    with pytest.raises(DataError, match="no neighbours"):
        relative(texts[:1].repeat(3, 1))
