"""The runners-up on a small network that is not linear, against their papers' formulas written out with autograd."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div

from holomorph import rules
from holomorph.calculus.norms import random_in_ball
from holomorph.errors import ConfigError
from holomorph.threats import ThreatModel
from rule_cases import THREATS, batch, network

THREAT = ThreatModel("inf", 0.1)


@pytest.fixture
def case():
    return network(norm=False), *batch(5)


def gradient(model, x, y, *, graph=True):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(cross_entropy(model(x), y, reduction="sum"), x, create_graph=graph)[0]


def assert_same(model, found, expected):
    """Equal values and equal gradients of all parameters."""
    assert torch.isclose(found, expected)
    ours, theirs = (torch.autograd.grad(v, tuple(model.parameters()), retain_graph=True) for v in (found, expected))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def test_gradalign(case):
    model, x, y = case
    near = (x + random_in_ball(x, THREAT.p, 0.1, torch.Generator().manual_seed(6))).clamp(0, 1)
    here, there = gradient(model, x, y, graph=False), gradient(model, near, y)
    cosine = (here * there).sum(1) / (here.norm(dim=1) * there.norm(dim=1))
    expected = cross_entropy(model((x + 0.1 * here.sign()).clamp(0, 1)), y) + 0.2 * (1 - cosine).mean()
    assert_same(model, rules.GradAlign(THREAT, seed=6)(model, x, y), expected)


def test_gradalign_passes_over_samples_without_gradients(case):
    """Where the network is sure, the gradients are noise; they are no misalignment."""
    model, x, y = case
    model[2].bias.data[0] += 60
    rule = rules.GradAlign(THREAT, weight=1e6, seed=6)
    model.zero_grad()
    rule(model, x, torch.zeros_like(y)).backward()
    assert rule.measured["alignment"] == 1
    assert all(p.grad.abs().max() < 1e-9 for p in model.parameters())


def test_jacobian(case):
    model, x, y = case
    v = torch.randn(5, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    v = v / v.norm(dim=1, keepdim=True)
    jacobians = torch.func.vmap(torch.func.jacrev(model))(x)
    square = 3 * torch.einsum("bk,bkn->bn", v, jacobians).square().sum(1).mean()
    expected = cross_entropy(model(x), y) + 0.01 / 2 * square
    assert_same(model, rules.JacobianPenalty(THREAT, seed=6)(model, x, y), expected)


def test_trades(case):
    model, x, y = case
    moved = rules.TRADES(THREAT, steps=3, seed=6).perturbed(model, x)
    apart = kl_div(model(moved).log_softmax(1), model(x).softmax(1), reduction="batchmean")
    assert_same(model, rules.TRADES(THREAT, steps=3, seed=6)(model, x, y), cross_entropy(model(x), y) + 6 * apart)


def test_nfgsm(case):
    model, x, y = case
    noisy = (x + random_in_ball(x, THREAT.p, 0.2, torch.Generator().manual_seed(6))).clamp(0, 1)
    moved = (noisy + 0.1 * gradient(model, noisy, y, graph=False).sign()).clamp(0, 1)
    assert (moved - x).abs().max() > 0.1  # not projected back
    assert_same(model, rules.NFGSM(THREAT, seed=6)(model, x, y), cross_entropy(model(moved), y))


def test_free_climbs_by_the_gradient_of_the_step_before(case):
    model, x, y = case
    rule, delta = rules.FreeAT(THREAT), torch.zeros_like(x)
    for _ in range(3):
        moved = (x + delta).clamp(0, 1)
        loss = rule(model, x, y)
        assert_same(model, loss, cross_entropy(model(moved), y))
        delta = (delta + 0.1 * gradient(model, moved, y, graph=False).sign()).clamp(-0.1, 0.1)
        loss.backward()
    smaller = rule(model, x[:2], y[:2])  # the last batch of an epoch
    assert_same(model, smaller, cross_entropy(model((x + delta)[:2].clamp(0, 1)), y[:2]))


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_free_survives_a_gradient_that_overflowed(threat):
    model, (x, y) = network(norm=False), batch(5)
    rule = rules.FreeAT(threat)
    (rule(model, x, y) * torch.inf).backward()  # as of a loss that GradScaler scaled too much
    assert rule.delta.isfinite().all()
    rule(model, x, y).backward()
    assert rule.delta.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_awp_leaves_weights_without_a_gradient(dtype):
    torch.manual_seed(0)
    model, (x, y) = nn.Sequential(nn.Linear(6, 200), nn.GELU(), nn.Linear(200, 3)).to(dtype), batch(5)
    nn.init.zeros_(model[2].weight)  # a usual start; nothing reaches the first layer
    loss = rules.AWP(THREAT, steps=1)(model, x.to(dtype), y)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_awp_takes_networks_with_weights_that_nothing_uses(case):
    model, x, y = case
    without = rules.AWP(THREAT, steps=1)(model, x, y)
    model.register_module("spare", nn.Linear(2, 2))
    model.forward = lambda z: model[2](model[1](model[0](z)))
    assert torch.equal(rules.AWP(THREAT, steps=1)(model, x, y), without)


def test_pgd_keeps_the_worst_of_its_restarts(case):
    model, x, y = case
    one, many = (rules.PGD(THREAT, steps=2, restarts=k).perturbed(model, x, y) for k in (1, 8))
    loss_one, loss_many = (cross_entropy(model(z), y, reduction="none") for z in (one, many))
    assert (loss_many >= loss_one).all()
    assert (loss_many > loss_one).any()
    assert ((many - x).abs() <= 0.1 + 1e-12).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_qub(case, smoothing):
    """The bound between the sample and N-FGSM's point, and above the risk there."""
    model, x, y = case
    rule = rules.QUB(THREAT, seed=6, label_smoothing=smoothing)
    moved = rules.NFGSM(THREAT, seed=6, label_smoothing=smoothing).perturbed(model, x, y)
    near, change = model(x), model(moved) - model(x)
    target = (1 - smoothing) * nn.functional.one_hot(y, 3) + smoothing / 3
    slope = ((near.softmax(1) - target) * change).sum(1)
    here, there = (cross_entropy(h, y, reduction="none", label_smoothing=smoothing) for h in (near, model(moved)))
    bound = here + slope + change.square().sum(1) / 4
    assert (bound >= there).all()
    assert_same(model, rule(model, x, y), bound.mean())


def test_fgsm_pgi(case):
    """Two batches: the second starts where the first one ended."""
    model, x, y = case
    rule, eta = rules.PriorGuided(THREAT, seed=6), random_in_ball(x, THREAT.p, 0.1, torch.Generator().manual_seed(6))
    for _ in range(2):
        start = (x + eta).clamp(0, 1)
        delta = (start - x + 0.1 * gradient(model, start, y, graph=False).sign()).clamp(-0.1, 0.1)
        moved = (x + delta).clamp(0, 1)
        expected = cross_entropy(model(moved), y) + 10 * (model(moved) - model(start)).square().mean()
        assert_same(model, rule(model, x, y), expected)
        eta = moved - x


@pytest.mark.parametrize(("patience", "ends", "steps"), [(0, [0.3, 0.35, 0.7], 8 / 3), (1, [0.2, 0.25, 0.7], 10 / 3)])
def test_early_stopped_pgd(patience, ends, steps):
    """Steps of 0.1 down, wrong below 0.4, walls at 0.2 from the sample: at once, after one step (0.45), never."""
    x, y = torch.tensor([[0.3], [0.45], [0.9]]), torch.tensor([1, 1, 1])
    model = nn.Linear(1, 2)
    model.weight.data, model.bias.data = torch.tensor([[-1.0], [1.0]]), torch.tensor([0.4, -0.4])
    rule = rules.PGD(ThreatModel("inf", 0.2), steps=5, random_start=False, patience=patience)
    assert rule.cost.passes == 3 + 2 * 5
    torch.testing.assert_close(rule.perturbed(model, x, y)[:, 0], torch.tensor(ends))
    assert rule.cost.passes == pytest.approx(3 + 2 * steps)


def test_early_stopping_has_one_start():
    with pytest.raises(ConfigError, match=r"An ascent that stops early has one start\. Give restarts=1"):
        rules.PGD(THREAT, patience=1, restarts=2)
