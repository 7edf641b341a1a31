"""What jets and forward mode cannot follow is refused by name, never answered wrongly."""

import pytest
import torch
from torch import nn

from holomorph.calculus import dirichlet_energy, jets, jvp
from holomorph.calculus.jets.carrier import Carrier
from holomorph.calculus.jets.imaginary import ComplexJet
from holomorph.calculus.jets.real import Jet
from holomorph.errors import DomainError, ModelError

X = torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class StraightThrough(torch.autograd.Function):
    """Rounds; its backward pass pretends that it does not."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g


class Cube(torch.autograd.Function):
    """In the newer style, with its context apart."""

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return 3 * g * ctx.saved_tensors[0] ** 2


class WithJets(torch.autograd.Function):
    """Calls a jet of its own inside, of something else."""

    @staticmethod
    def forward(ctx, x):
        return jets.dual(torch.sin, x, torch.ones_like(x))[1]


class Hidden(nn.Module):
    def forward(self, x):
        return StraightThrough.apply(2 * x)


@pytest.mark.parametrize("follow", [jets.dual, jets.complex, jets.second])
@pytest.mark.parametrize(
    ("model", "name"),
    [(StraightThrough.apply, "StraightThrough"), (Cube.apply, "Cube"), (nn.Sequential(Hidden()), "StraightThrough")],
)
@pytest.mark.parametrize("graph", [True, False])
def test_a_custom_function_is_named(follow, model, name, graph):
    with torch.set_grad_enabled(graph), pytest.raises(ModelError, match=f"{name} is a custom autograd.Function"):
        follow(model, X, X)


def test_backward_still_follows_a_custom_function():
    assert dirichlet_energy(StraightThrough.apply, X, "projection").value > 0  # the remedy that the message names


def test_jets_inside_a_custom_function_are_no_business_of_the_refusal():
    torch.testing.assert_close(WithJets.apply(X), X.cos())


@pytest.mark.parametrize("function", [StraightThrough, Cube])
def test_forward_mode_refuses_a_custom_function(function):
    with pytest.raises(ModelError, match=r"custom autograd\.Function has no forward derivative"):
        jvp(function.apply, X, X)


def test_forward_mode_through_batch_norm():
    """In training it would change the running statistics: refused; with frozen statistics it is an affine map."""
    norm = nn.BatchNorm1d(3).double()
    before = norm.running_mean.clone()
    with pytest.raises(ModelError, match=r"model\.eval\(\)"):
        jvp(norm, X, X)
    torch.testing.assert_close(norm.running_mean, before)
    norm(X)
    norm.eval()
    slope = (norm.running_var + norm.eps).rsqrt()
    torch.testing.assert_close(jvp(norm, X, X)[1], X * slope)
    torch.testing.assert_close(jets.dual(norm, X, X)[1], X * slope)


def test_every_kind_of_jet_has_every_rule():
    assert Carrier.__abstractmethods__
    assert not Jet.__abstractmethods__
    assert not ComplexJet.__abstractmethods__


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_no_complex_numbers(dtype):
    x = torch.ones(1, 2, dtype=dtype)
    with pytest.raises(DomainError, match="in float32 or float64"):
        jets.complex(torch.nn.Linear(2, 2, dtype=dtype), x, x)
