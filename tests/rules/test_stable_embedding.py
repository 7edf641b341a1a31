"""The rule for encoders: closed forms, samples without labels, and robust heads on top."""

import copy
import pickle

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from holomorph.data import load_data
from holomorph.errors import ConfigError, DataError, ModelError
from holomorph.evaluation.attack import attack
from holomorph.rules import RULES, StableEmbedding, parse
from holomorph.rules.registry import ENCODERS
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from rule_cases import THREATS, batch, network, stored

LINF = THREATS[0]


@pytest.mark.parametrize("threat", [ThreatModel(t.norm, t.eps, (-9, 9)) for t in THREATS], ids=str)
def test_of_a_linear_map_to_a_line_it_is_the_squared_worst_case(threat):
    # |w (u + eps s)|^2 with the dual direction s, which has the sign of w u, and u small.
    encoder = nn.Linear(6, 2, bias=False).double()
    with torch.no_grad():
        encoder.weight[1] = 0
    x, w = batch()[0], encoder.weight[0].detach()
    rule = StableEmbedding(threat, noise=1e-6)
    worst = threat.radius * float(torch.linalg.vector_norm(w, ord=threat.q))
    assert rule(encoder, x).item() == pytest.approx(worst**2, rel=1e-4)


def test_the_reference_is_the_encoder_of_the_first_call_whatever_happens_to_it_since():
    encoder, (x, y) = network(), batch()
    encoder.eval()
    before, rule = encoder(x).detach(), StableEmbedding(ThreatModel(2, 2e-3), noise=0)
    rule(encoder, x)
    with torch.no_grad():
        encoder[4].bias += 1.0
        encoder[1].running_mean += 1.0
    drift = (encoder(x) - before).square().sum(1).mean()
    wrapped = nn.Sequential(encoder)
    resumed = StableEmbedding(rule.threat, noise=0)
    resumed.load_state_dict(stored(rule))
    for one in (rule, copy.deepcopy(rule), pickle.loads(pickle.dumps(rule)), resumed):
        assert one(wrapped, x).item() == pytest.approx(drift.item(), rel=1e-2)  # the same parameters under other names
        assert one(encoder, x, y + 7).item() == pytest.approx(drift.item(), rel=1e-2), "labels are not looked at"
        assert one(copy.deepcopy(encoder), x) < 1e-4, "another encoder is its own reference"
    with pytest.raises(ConfigError, match="another encoder"):
        resumed.load_state_dict(stored(rule)) or resumed(nn.Linear(6, 2).double(), x)
    with pytest.raises(ModelError, match="shows no parameters"):
        rule(lambda z: encoder(z), x)


@pytest.mark.parametrize("kind", ["array", "tensor", "pair", "set", "loader", "loader of tensors"])
def test_fit_takes_samples_alone(kind):
    x = torch.rand(60, 6)
    train = {"array": x.numpy(), "tensor": x, "pair": (x, torch.full((60,), 99)), "set": TensorDataset(x),
             "loader": DataLoader(TensorDataset(x), 20), "loader of tensors": DataLoader(x, 20)}[kind]  # fmt: skip
    encoder = network(norm=False).float()
    before = encoder[0].weight.detach().clone()
    record = fit(encoder, train, "stable-embedding", threat=LINF, epochs=2, batch_size=20)
    assert not torch.equal(before, encoder[0].weight)
    assert (record.samples, record.class_names) == (60, ())
    if kind != "pair":
        with pytest.raises(DataError):
            fit(encoder, train, "finite", threat=LINF)


def test_it_is_read_by_name_and_compared_with_no_classifier():
    assert isinstance(parse("0.1*stable-embedding(noise=0.5) + plain", LINF).rules[0], StableEmbedding)
    assert not RULES.keys() & ENCODERS.keys()


@pytest.mark.slow
def test_a_linear_head_on_the_trained_encoder_is_more_robust_than_on_the_untouched_one():
    # 360 test images of fixed seeds: 0.1 is four standard errors of either share.
    data, threat = load_data("digits"), ThreatModel("inf", 0.1)
    torch.manual_seed(0)
    untouched = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 32))
    fit(nn.Sequential(untouched, nn.Linear(32, 10)), data, "plain", epochs=8)
    encoder = copy.deepcopy(untouched)
    fit(encoder, data.x_train, StableEmbedding(threat), epochs=10, lr=1e-2)

    def measured(body):
        with torch.no_grad():
            found = LogisticRegression(max_iter=2000).fit(body(data.x_train), data.y_train)
        head = nn.Linear(32, 10)
        head.weight.data, head.bias.data = (torch.tensor(p).float() for p in (found.coef_, found.intercept_))
        model, (x, y) = nn.Sequential(body, head), data.part("test")
        clean = (model(x).argmax(1) == y).double().mean().item()
        return clean, 1 - attack(model, x, y, threat=threat).broken.double().mean().item()

    (clean_before, before), (clean, after) = measured(untouched), measured(encoder)
    assert after > before + 0.1
    assert clean > clean_before - 0.03
