"""Further points see the same function: statistics and masks of the first pass, and no trace of their own."""

import copy

import pytest
import torch
from torch import nn

from holomorph.calculus.risk_gradient import gradient_of_risk
from holomorph.errors import NotDifferentiableError
from holomorph.rules import NFGSM
from holomorph.rules.passes import Passes
from holomorph.threats import ThreatModel
from rule_cases import batch, network


def test_again_is_the_same_function():
    model, (x, _) = network(), batch()
    passes = Passes(model)
    first = passes.first(x)
    assert torch.allclose(passes.again(x), first, atol=1e-12)
    assert not torch.allclose(passes.again(x + 1), model(x + 1))  # its own batch would shift it back
    # a function of each sample: a part of the batch gets the answers that it has in the whole
    still = Passes(nn.Sequential(*list(model)[:3]))
    whole = still.first(x)
    assert torch.allclose(still.again(x[:2]), whole[:2], atol=1e-12)


def test_statistics_are_those_of_the_first_pass_with_their_gradient():
    torch.manual_seed(0)
    norm, (x, _) = nn.BatchNorm1d(6).double(), batch()
    nn.init.uniform_(norm.weight)
    x, z = x.requires_grad_(), torch.randn(8, 6, dtype=torch.float64)
    passes = Passes(norm)
    passes.first(x)
    expected = (z - x.mean(0)) / (x.var(0, correction=0) + norm.eps).sqrt() * norm.weight + norm.bias
    found = passes.again(z)
    assert torch.allclose(found, expected)
    ours, theirs = (torch.autograd.grad((v**3).sum(), (x, norm.weight)) for v in (found, expected))
    assert all(torch.allclose(a, b) for a, b in zip(ours, theirs, strict=True))


def test_running_statistics_are_those_of_one_pass():
    model, (x, _) = network(), batch()
    once = copy.deepcopy(model)
    once(x)
    passes = Passes(model)
    passes.first(x)
    for _ in range(3):
        passes.again(torch.rand_like(x))
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), once.buffers(), strict=True))
    assert model[1].track_running_stats


def test_convolutional_statistics():
    norm = nn.BatchNorm2d(3)
    x = torch.rand(4, 3, 5, 5)
    passes = Passes(norm)
    assert torch.allclose(passes.first(x), passes.again(x), atol=1e-5)


class Activated(nn.BatchNorm1d):
    """A BatchNorm with its activation, as libraries of vision models have it."""

    def forward(self, x):
        return torch.relu(super().forward(2 * x)) + x


class Twice(nn.Module):
    """One BatchNorm for two layers."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x):
        return self.norm(self.norm(x).square())


@pytest.mark.parametrize("model", [Activated(6), Twice(), nn.BatchNorm1d(6, affine=False, track_running_stats=False)])
def test_any_use_of_batchnorm_is_the_same_function_again(model):
    model, (x, _) = model.double(), batch()
    passes = Passes(model)
    first, points = passes.first(x), torch.rand_like(x)
    buffers = copy.deepcopy(list(model.buffers()))
    again = [passes.again(points), passes.again(x)]
    assert torch.allclose(again[1], first, atol=1e-10)
    assert torch.allclose(passes.again(points[:3]), again[0][:3], atol=1e-10)
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), buffers, strict=True))


def test_instance_norms_learn_once():
    norm = nn.InstanceNorm1d(3, track_running_stats=True)
    x = torch.rand(4, 3, 5)
    passes = Passes(norm)
    first, mean = passes.first(x), norm.running_mean.clone()
    assert torch.equal(passes.again(x), first)
    assert torch.equal(norm.running_mean, mean)


def test_evaluation_mode_needs_nothing():
    model, (x, _) = network().eval(), batch()
    passes = Passes(model)
    assert torch.equal(passes.first(x), passes.again(x))


def test_hooks_are_taken_away_even_after_an_error():
    model, (x, _) = network(), batch()
    passes = Passes(model)
    passes.first(x)
    with pytest.raises(RuntimeError):
        passes.again(x[:, :3])
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        Passes(model[1]).first(x[0])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not torch.overrides._get_current_function_mode_stack()
    assert model[1].track_running_stats


def test_other_parameters_also_behind_wrappers_and_ties():
    model, (x, _) = network(norm=False), batch()
    tied = nn.ModuleDict({"once": model, "twice": model})
    tied.forward = model.forward
    for wrapped in (model, tied):
        passes = Passes(wrapped)
        first = passes.first(x)
        bias = model[2].bias
        moved = passes.again(x, {bias: bias + 1})
        assert torch.allclose(moved, first + 1)
        assert torch.equal(passes.again(x), first)
        assert model[2].bias is bias
        moved.sum().backward()
        assert torch.equal(bias.grad, torch.full_like(bias, 8.0))
        bias.grad = None


def test_a_cut_graph_is_named():
    class Cut(nn.Module):
        def forward(self, x):
            return torch.stack([x.detach().sum(1), x.detach().sum(1)], 1)

    x, y = batch()
    with pytest.raises(NotDifferentiableError, match=r"Look for detach\(\)"):
        NFGSM(ThreatModel("inf", 0.1))(Cut(), x, y % 2)
    z = x.requires_grad_()
    with pytest.raises(NotDifferentiableError):
        gradient_of_risk(torch.ones(8, requires_grad=True) * 2, z)
