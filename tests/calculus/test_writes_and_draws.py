"""Writes in place, casts and random draws inside jets: as in torch, or refused by name."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holomorph.calculus import jets
from holomorph.errors import ModelError, NotHolomorphicError

D = torch.float64
X = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=D)
ONES = torch.ones_like(X)


def first_column(t):
    h = t * 1
    h[:, 0].mul_(10)
    return h


def relu_of_a_view(t):
    h = t * 1
    F.relu(h.view(-1), inplace=True)
    return h


def item(t):
    h = t * 1
    h[:, 1] = h[:, 0].clone() ** 2
    return h


def detached(t):
    h = t * 1
    same = h.detach()
    h.mul_(3)
    return h * same


def root_of_a_constant(t):
    with torch.no_grad():
        none = t * 0
    return t + t * none.sqrt()


@pytest.mark.parametrize(
    ("f", "value", "slope"),
    [
        (detached, [[9, 36], [81, 9]], [[9, 18], [27, -9]]),
        (root_of_a_constant, [[1, 2], [3, -1]], [[1, 1], [1, 1]]),
        (first_column, [[10, 2], [30, -1]], [[10, 1], [10, 1]]),
        (relu_of_a_view, [[1, 2], [3, 0]], [[1, 1], [1, 0]]),
        (item, [[1, 1], [3, 9]], [[1, 2], [1, 6]]),
        (lambda t: t * t.clone().gt_(0.0), [[1, 2], [3, 0]], [[1, 1], [1, 0]]),
        (lambda t: t * t.clone().detach_(), [[1, 4], [9, 1]], [[1, 2], [3, -1]]),
        (lambda t: t * (1.7 * t).type_as(torch.tensor([1])).to(D), [[1, 6], [15, 1]], [[1, 3], [5, -1]]),
        (lambda t: t * t.to(dtype=torch.int32), [[1, 4], [9, 1]], [[1, 2], [3, -1]]),
    ],
)
def test_value_and_derivative_of_writes_and_casts(f, value, slope):
    for found, wanted in zip(jets.dual(f, X, ONES), (value, slope), strict=True):
        torch.testing.assert_close(found, torch.tensor(wanted, dtype=D))


def test_the_caller_keeps_its_tensor():
    before = X.clone()
    jets.dual(lambda t: t.mul_(3), X, ONES)
    torch.testing.assert_close(X, before)


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda t: t + torch.from_numpy(t.numpy()), "numpy leaves torch"),
        (lambda t: torch.zeros_like(t).add_(t) + t, "add writes into a tensor inside a jet"),
        (lambda t: (t * 1).unsqueeze_(0), "unsqueeze in place changes a jet's shape"),
        (lambda t: (t * 1).normal_(), "normal writes into a tensor"),
        (lambda t: t + torch.special.bessel_j0(t), "gives the derivative of special_bessel_j0 as 0"),
    ],
)
def test_what_cannot_be_followed_is_named(f, words):
    with pytest.raises(ModelError, match=words):
        jets.dual(f, X, ONES)


def test_a_no_grad_block_makes_constants_and_cuts_an_extension():
    weight = torch.ones((), dtype=D, requires_grad=True)

    def f(t):
        with torch.no_grad():
            scale = (weight * t).square()
        return t * scale

    slope = jets.dual(f, X, ONES)[1]
    torch.testing.assert_close(slope, X.square())
    assert not slope.requires_grad
    with pytest.raises(NotHolomorphicError, match="no_grad block"):
        jets.complex(f, X, ONES)


@pytest.mark.parametrize(
    "f",
    [
        lambda t: F.rrelu(-t, training=True),
        lambda t: F.rrelu(-t, training=True).square(),
        nn.AlphaDropout(0.5).train(),
        nn.FeatureAlphaDropout(0.5).train(),
        lambda t: F.gumbel_softmax(t, dim=1),
    ],
)
def test_value_and_derivatives_come_from_one_draw(f):
    """Against central differences with the same seed."""

    def at(t):
        torch.manual_seed(0)
        return f(x + t * v)

    x = torch.rand(1, 50, dtype=D, generator=torch.Generator().manual_seed(0)) + 0.5
    v = torch.ones_like(x)
    torch.manual_seed(0)
    value, slope = jets.dual(f, x, v)
    torch.testing.assert_close(value, at(0.0))
    torch.testing.assert_close(slope, (at(1e-6) - at(-1e-6)) / 2e-6, rtol=1e-6, atol=1e-8)


def test_softmax_keeps_its_type_and_its_default_dimension():
    x = X.float()
    value, slope = jets.dual(lambda t: F.softmax(t, dim=1, dtype=D), x, torch.ones_like(x))
    assert value.dtype == slope.dtype == D
    torch.testing.assert_close(value, F.softmax(X, 1))
