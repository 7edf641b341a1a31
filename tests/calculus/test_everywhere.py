"""What holds for every function of the calculus alike: refusals, shapes and types, no leakage between samples."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from holomorph import ThreatModel, calculus
from holomorph.errors import DataError, DomainError, NotDifferentiableError, NotHolomorphicError
from oracles import smooth_mlp

G = torch.Generator().manual_seed(0)
X = torch.randn(3, 4, dtype=torch.float64, generator=G)


def first(f):
    return lambda x: f(x).reshape(len(x), -1)[:, 0]


#: Deterministic functions with one row a sample, of a real network f and points x.
BY_SAMPLE = {
    "input_gradient": lambda f, x: calculus.input_gradient(first(f), x),
    "jvp": lambda f, x: calculus.jvp(f, x, x)[1],
    "vjp": lambda f, x: calculus.vjp(f, x, torch.ones_like(f(x)))[1],
    "jacobian": calculus.jacobian,
    "hessian_vector": lambda f, x: calculus.hessian_vector(first(f), x, x),
    "curvature": lambda f, x: calculus.curvature(first(f), x),
    "exact energy": lambda f, x: calculus.dirichlet_energy(f, x).each,
    "finite difference": lambda f, x: (
        calculus.dirichlet_energy(first(f), x, "finite-difference", q=1.0, step=1e-2).each
    ),
    "dual": lambda f, x: calculus.jets.dual(f, x, x)[1],
    "second": lambda f, x: calculus.jets.second(f, x, x)[2],
    "complex": lambda f, x: calculus.jets.complex(f, x, 0.1 * x)[1],
    "laplacian exact": calculus.laplacian,
    "laplacian forward": lambda f, x: calculus.laplacian(f, x, "forward"),
    "wirtinger": lambda f, x: calculus.wirtinger(calculus.jets.analytic_extension(f), torch.complex(x, 0.1 * x))[0],
    "taylor_coefficients": lambda f, x: calculus.taylor_coefficients(f, x, x, 2),
    "taylor, nested": lambda f, x: calculus.taylor_coefficients(f, x, x, 2, method="forward"),
    "hardy_norm": lambda f, x: calculus.hardy_norm(f, x, x, 0.1),
    "cauchy_estimate": lambda f, x: calculus.cauchy_estimate(f, x, x, 2, 0.1),
}
RANDOM = {
    "projection": lambda f, x: calculus.dirichlet_energy(f, x, "projection", generator=seeded()).each,
    "antithetic": lambda f, x: calculus.dirichlet_energy(f, x, "antithetic", generator=seeded()).each,
    "dual energy": lambda f, x: calculus.dirichlet_energy(f, x, "dual", generator=seeded()).each,
    "complex step": lambda f, x: calculus.dirichlet_energy(f, x, "complex-step", generator=seeded()).each,
    "hutchinson": lambda f, x: calculus.laplacian(f, x, "hutchinson", generator=seeded()),
    "mean_value_gap": lambda f, x: calculus.mean_value_gap(f, x, 0.1, directions=2, generator=seeded()),
}
TOGETHER = {
    "gram": lambda f, x: calculus.dirichlet_gram([f, f], x),
    "violations": lambda f, x: calculus.maximum_principle_violations(f, x, 0.1, directions=2, steps=2)[0],
}
MEASURES = {
    "ball": lambda x: calculus.Ball(ThreatModel("inf", 0.1)).draw(x, seeded()),
    "Euclidean ball": lambda x: calculus.Ball(ThreatModel("2", 0.1)).draw(x, seeded()),
    "noise": lambda x: calculus.Noise(0.1).draw(x, seeded()),
    "segments": lambda x: calculus.Segments().draw(x, seeded(), torch.arange(len(x))),
}


def seeded():
    return torch.Generator().manual_seed(0)


def network(shape, outputs, dtype):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), outputs), nn.Tanh()).to(dtype)


@pytest.mark.parametrize("name", BY_SAMPLE)
def test_samples_do_not_leak(name):
    """A batch gives what its samples give one by one."""
    model = smooth_mlp()
    alone = torch.cat([BY_SAMPLE[name](model, x) for x in X.split(1)])
    torch.testing.assert_close(BY_SAMPLE[name](model, X), alone, rtol=1e-9, atol=1e-11)


@settings(max_examples=8, deadline=None)
@given(
    batch=st.integers(1, 3),
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    outputs=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_any_shape_and_type(batch, shape, outputs, dtype):
    """Every function takes any trailing shape and keeps the type; one row a sample, nothing NaN, a graph."""
    x = torch.linspace(-0.5, 0.5, batch * math.prod(shape), dtype=dtype).reshape(batch, *shape)
    model = network(shape, outputs, dtype)
    for name, function in {**BY_SAMPLE, **RANDOM}.items():
        found = function(model, x)
        assert len(found) == batch, name
        assert (found.real.dtype if found.is_complex() else found.dtype) == dtype, name
        assert torch.isfinite(found).all(), name
        assert found.requires_grad == (name != "curvature"), name
    for name, function in TOGETHER.items():
        assert function(model, x).dtype == dtype, name
    for name, draw in MEASURES.items():
        if name == "segments" and batch == 1:
            continue
        assert draw(x).shape == x.shape, name
        assert draw(x).dtype == dtype, name


@pytest.mark.parametrize("name", [*BY_SAMPLE, *RANDOM, *TOGETHER, *MEASURES])
def test_integers_and_nan_are_refused(name):
    if name == "wirtinger":
        pytest.skip("asks for complex points: test_complex_analysis.py")
    function = {**BY_SAMPLE, **RANDOM, **TOGETHER, "vjp": lambda f, x: calculus.vjp(f, x, x)}.get(name)
    call = MEASURES[name] if function is None else lambda x: function(torch.nn.functional.silu, x)
    with pytest.raises(DataError, match="floating point"):
        call(torch.ones(2, 3, dtype=torch.int64))
    with pytest.raises(DataError, match="NaN"):
        call(torch.tensor([[1.0, math.nan]]))


@pytest.mark.parametrize("name", [*BY_SAMPLE, *RANDOM, *TOGETHER])
def test_a_function_that_is_nan_somewhere_is_refused(name):
    function = {**BY_SAMPLE, **RANDOM, **TOGETHER}[name]
    with pytest.raises(DomainError):
        function(lambda x: x * math.nan, torch.ones(2, 3))


@pytest.mark.parametrize("name", [*BY_SAMPLE, *RANDOM, *TOGETHER])
def test_a_function_without_a_derivative_is_refused(name):
    function = {**BY_SAMPLE, **RANDOM, **TOGETHER}[name]
    if name in {"antithetic", "mean_value_gap"}:
        pytest.skip("compares values only")
    with pytest.raises((NotDifferentiableError, NotHolomorphicError)):
        function(lambda x: x.detach(), X)


@pytest.mark.parametrize("operation", [nn.ReLU(), nn.GELU(), nn.MaxPool1d(2)])
def test_operations_without_a_complex_form_say_where(operation):
    model = nn.Sequential(nn.Flatten(), operation)
    z = torch.complex(X, X)
    for call in (
        lambda: calculus.wirtinger(model, z),
        lambda: calculus.cauchy_riemann_residual(model, z),
        lambda: calculus.taylor_coefficients(model, z, z, 2),
        lambda: calculus.hardy_norm(model, z, z, 0.1),
    ):
        with pytest.raises(NotHolomorphicError, match=rf"module '1' \({type(operation).__name__}\)"):
            call()
