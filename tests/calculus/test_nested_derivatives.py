"""Where torch nests its own derivatives wrongly, and where functions have branches and poles."""

import math

import pytest
import torch
from torch import nn

from holomorph.calculus import hardy_norm, hessian_vector, jets, laplacian, nesting, taylor_coefficients
from holomorph.errors import DomainError, ModelError

D = torch.float64
EYE = torch.eye(2, dtype=D)[None]
ZERO, ONE = torch.zeros(1, 1, dtype=D), torch.ones(1, 1, dtype=D)


def test_determinants():
    det, log = (lambda f: lambda t: f(t)[:, None])(torch.linalg.det), lambda t: torch.logdet(t)[:, None]
    assert jets.second(det, 2 * EYE, EYE)[2].item() == pytest.approx(2)
    for method in ("exact", "forward"):
        assert laplacian(log, 2 * EYE, method).item() == pytest.approx(-0.5)
    found = taylor_coefficients(det, 2 * EYE, EYE, 2, method="forward").flatten()
    torch.testing.assert_close(found, torch.tensor([4.0, 4.0, 1.0], dtype=D))


@pytest.mark.parametrize("quantity", ["laplacian", "hessian_vector"])
def test_gradients_of_second_derivatives_through_layer_norm_are_those_of_group_norm(quantity):
    """The same function twice."""
    found = []
    for norm in (nn.LayerNorm(5), nn.GroupNorm(1, 5)):
        torch.manual_seed(0)
        layer, w, x = nn.Linear(3, 5, dtype=D), torch.randn(5, dtype=D), torch.randn(4, 3, dtype=D)
        f = nn.Sequential(layer, norm.double(), nn.Tanh())
        g = lambda z, f=f, w=w: f(z) @ w  # noqa: E731
        value = laplacian(g, x) if quantity == "laplacian" else hessian_vector(g, x, torch.ones_like(x))
        found.append(torch.autograd.grad(value.square().sum(), layer.weight)[0])
    torch.testing.assert_close(*found)


def line(t):
    return torch.cat([1 + t, 2 * t, 2 + 3 * t], 1)


L = math.log(2)


@pytest.mark.parametrize(
    ("f", "coefficients"),
    [
        (lambda t: line(t).prod(1), [0, 4, 10, 6]),
        (lambda t: line(t).cumprod(1).sum(1), [1, 7, 12, 6]),
        (lambda t: line(t).clone().cumprod_(1).sum(1), [1, 7, 12, 6]),
        (lambda t: (2 + t) ** t, [1, L, (L**2 + 1) / 2, (L**3 + 3 * L - 0.75) / 6]),
        (lambda t: torch.linalg.vector_norm((line(t) - 9).relu(), dim=1), [0, 0, 0, 0]),
        (lambda t: nn.functional.normalize(line(t).sin() * 0).sum(1), [0, 0, 0, 0]),
        (lambda t: torch.cosine_similarity(line(t), 0 * line(t)), [0, 0, 0, 0]),
        (lambda t: (0 * line(t)).std(1), [0, 0, 0, 0]),
        (lambda t: (0 * line(t)).renorm(2, 0, 1.0).sum(1), [0, 0, 0, 0]),
        (lambda t: torch.linalg.vector_norm(line(t) - 1, 4, 1) ** 4, [2, 4, 78, 76]),
    ],
)
def test_every_order_where_factors_rows_or_exponents_are_zero(f, coefficients):
    g = lambda t: f(t).reshape(1, 1)  # noqa: E731
    wanted = torch.tensor(coefficients, dtype=D)
    torch.testing.assert_close(taylor_coefficients(g, ZERO, ONE, 3, method="forward").flatten(), wanted)
    assert jets.second(g, ZERO, ONE)[2].item() == pytest.approx(2 * coefficients[2])
    point = ZERO.clone().requires_grad_()
    bend = hessian_vector(g, point, ONE)
    assert bend.item() == pytest.approx(2 * coefficients[2])
    assert torch.autograd.grad(bend, point)[0].item() == pytest.approx(6 * coefficients[3])


def test_an_operation_whose_derivatives_contradict_each_other_is_refused_by_name():
    A = 2 * torch.eye(2, dtype=D) + 0.1
    with pytest.raises(ModelError, match="nested derivatives of det without elimination contradict"):
        nesting.check_nesting("det without elimination", torch.linalg.det, (A,))
    nesting.check_nesting("sine", torch.sin, (A,))


@pytest.mark.parametrize(
    ("f", "z", "wanted"),
    [
        (lambda x: x.log_softmax(1), (5j, 5j), [-math.log(2)] * 2),
        (lambda x: x.logsumexp(1), (5j, 5j), [5j + math.log(2)]),
        (lambda x: x.exp().log(), (5j,), [5j]),
        (lambda x: (x**4).sqrt(), (1 + 2j,), [(1 + 2j) ** 2]),
        (lambda x: (x**4) ** 0.5, (1 + 2j,), [(1 + 2j) ** 2]),
    ],
)
def test_branches_are_continued_from_the_real_point(f, z, wanted):
    found = jets.analytic_extension(f)(torch.tensor([z], dtype=torch.complex128)).flatten()
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.complex128))


def test_a_branch_that_cannot_be_followed_is_refused():
    with pytest.raises(DomainError, match="branch is unknown"):
        jets.complex(lambda x: (1 + x * x).log(), ZERO, 2 * ONE)


def test_circles_near_a_pole():
    geometric = lambda z: 1 / (1 - z)  # noqa: E731
    found = taylor_coefficients(geometric, ZERO, ONE, 4, radius=0.9).flatten()
    torch.testing.assert_close(found, torch.ones(5, dtype=D))
    for radius in (0.999, 1.0001):
        with pytest.raises(DomainError, match=r"do not die away|not analytic|NaN"):
            taylor_coefficients(geometric, ZERO, ONE, 4, radius=radius)
    with pytest.raises(DomainError, match="not analytic"):
        taylor_coefficients(lambda z: 1e3 * z.exp() + 0.1 / (z - 0.3), ZERO.float(), ONE.float(), 3, radius=0.5)


@pytest.mark.parametrize("power", [32, 33, 63, 64])
def test_high_orders_that_few_points_fold_over(power):
    f = lambda z: z + z**power  # noqa: E731
    wanted = torch.tensor([0.0, 1.0, 0.0], dtype=D)
    torch.testing.assert_close(taylor_coefficients(f, ZERO, ONE, 2, radius=1.0).flatten(), wanted)
    assert hardy_norm(f, ZERO, ONE, 1.0).item() == pytest.approx(2)


def test_coefficients_that_drown_in_rounding_are_refused():
    with pytest.raises(DomainError, match="rounding hides the coefficients"):
        taylor_coefficients(torch.exp, ZERO, ONE, 3, radius=300.0)


def test_the_hardy_norm_of_a_constant_in_disguise():
    f = lambda x: torch.cat([x, x], 1).log_softmax(1)[:, :1]  # noqa: E731
    assert hardy_norm(f, ZERO, ONE, 6.0).item() == pytest.approx(math.log(2) ** 2)
