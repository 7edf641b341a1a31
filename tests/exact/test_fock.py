import math

import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC

from holomorph.calculus.wirtinger import cauchy_riemann_residual, wirtinger
from holomorph.errors import ConfigError, DataError, DomainError
from holomorph.exact import FockKernel
from holomorph.exact.margin import squared_hinge
from holomorph.exact.monomials import Monomials


def cloud(n: int = 40, m: int = 2, *, complex_points: bool = True, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, m, dtype=torch.complex128 if complex_points else torch.float64, generator=g)


def targets(z: torch.Tensor) -> torch.Tensor:
    return torch.stack([(z**2).sum(1), z[:, 0] - 1], dim=1)


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("complex_points", [True, False])
def test_it_solves_the_problem_over_the_space_of_entire_functions(weight, complex_points):
    """Polynomials of degree 18 hold the space to 1e-9 here; their ridge regression is the oracle."""
    z = 0.5 * cloud(complex_points=complex_points)
    c = targets(z)
    h = FockKernel(weight, ridge=1e-2, scale=2.0).fit(z, c)
    basis = Monomials(2, 18)
    w = (z - h.centre) / h.unit
    scaled = basis(w) / (1 + weight * basis.exponents.sum(1).double()).sqrt()  # orthonormal for the norm with energy
    normal = scaled.mH @ scaled / len(z) + 1e-2 * torch.eye(len(basis))
    a = torch.linalg.solve(normal, scaled.mH @ c / len(z))
    torch.testing.assert_close(h(z), scaled @ a, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(h.norm(), torch.linalg.vector_norm(a, dim=0), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("complex_points", [True, False])
def test_it_is_holomorphic_and_its_derivative_is_right(complex_points):
    z = cloud(15, complex_points=complex_points)
    h = FockKernel(0.5, 1e-3).fit(z, targets(z))
    point = cloud(6, seed=3) * 0.5
    assert float(cauchy_riemann_residual(h, point).detach()) < 1e-20
    torch.testing.assert_close(h.derivative(point), wirtinger(h, point)[0].detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("units", [1e-200, 1e200])
def test_units_whose_squares_leave_the_range_change_nothing(units):
    z = cloud(20)
    wanted = FockKernel(1.0, 1e-2).fit(z, targets(z))(z)
    torch.testing.assert_close(FockKernel(1.0, 1e-2).fit(z * units, targets(z))(z * units), wanted)


def test_landmarks_that_are_all_samples_give_the_full_solution(monkeypatch):
    z = cloud(60)
    full = FockKernel(1.0, 1e-2).fit(z, targets(z))
    reduced = FockKernel(1.0, 1e-2, landmarks=60).fit(z, targets(z))
    torch.testing.assert_close(reduced(z), full(z), rtol=1e-5, atol=1e-6)
    both = [FockKernel(1.0, 1e-2, relative=True, landmarks=n).fit(z, targets(z))(z) for n in (None, 60)]
    torch.testing.assert_close(both[1], both[0], rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(FockKernel, "max_samples", 59)
    automatic = FockKernel(1.0, 1e-2).fit(z, targets(z))
    torch.testing.assert_close(automatic(z), reduced(z))
    fewer = FockKernel(1.0, 1e-2, landmarks=30).fit(z, targets(z))
    assert len(fewer.points) == 30
    assert float((fewer(z) - full(z)).abs().mean()) < 0.2


@pytest.mark.parametrize("relative", [False, True])
def test_landmarks_that_depend_on_each_other_span_the_full_solution_too(relative):
    """200 smooth functions in the plane: their inner products are singular to working precision."""
    z = 0.5 * cloud(200, complex_points=False)
    full, reduced = (FockKernel(1.0, 1e-4, relative=relative, landmarks=n).fit(z, targets(z)) for n in (None, 200))
    torch.testing.assert_close(reduced(z), full(z), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(reduced.norm(), full.norm(), rtol=1e-4, atol=0)


def test_hinge_is_scikit_learns_machine_on_our_kernel():
    z = cloud(50, complex_points=False)
    y = (z.square().sum(1) > 2).double()
    h = FockKernel(1.0, 1e-3, loss="hinge").fit(z, (2 * y - 1)[:, None])
    svc = SVC(kernel="precomputed", C=1 / (2 * 50 * 1e-3)).fit(h.gram(z, z).numpy(), y.numpy())
    torch.testing.assert_close(h(z)[:, 0], torch.as_tensor(svc.decision_function(h.gram(z, z).numpy())))
    assert float(((h(z)[:, 0] > 0) == (y > 0)).double().mean()) > 0.9


def test_the_squared_hinge_stops_at_the_rounding_of_single_precision():
    draws = torch.Generator().manual_seed(0)
    points, signs = torch.randn(60, 20, generator=draws), torch.randn(60, 2, generator=draws).sign()
    gram = points @ points.mT
    exact = squared_hinge(gram.double(), signs.double(), 1e-3)
    torch.testing.assert_close(squared_hinge(gram, signs, 1e-3).double(), exact, rtol=0, atol=0.1)  # of about 20


@pytest.mark.parametrize(("relative", "complex_points"), [(False, True), (True, False)])
def test_the_squared_hinge_is_at_its_optimum(relative, complex_points):
    """The conditions of Karush, Kuhn and Tucker, which are enough for a convex problem."""
    z, rho = cloud(60, complex_points=complex_points), 1e-2
    y = torch.where(torch.stack([z.abs().square().sum(1) > 2, z[:, 0].real > 0.3], 1), 1.0, -1.0).double()
    h = FockKernel(0.5, rho, loss="squared-hinge", relative=relative).fit(z, y)
    unit = h.size(z) if relative else torch.ones(60, dtype=torch.float64)
    gram = h.gram(z, z).real / (unit[:, None] * unit)
    slack = (1 - y * h(z).real / unit[:, None]).clamp_min(0)
    alpha = y * slack / (60 * rho)  # what the minimum demands of the coefficients
    torch.testing.assert_close(gram @ alpha, h(z).real / unit[:, None], rtol=0, atol=1e-9)
    assert 0 < int((slack == 0).sum()) < slack.numel()  # samples on either side of the margin
    assert len(h.points) < 60 or bool((alpha != 0).any(1).all())


@pytest.mark.parametrize("t", [0.6, 1.0])
def test_relative_values_are_kernel_ridge_with_the_kernel_divided_by_that_power(t):
    """On real points without energy K(z, w)/(|k_z||k_w|)^t = exp(<z, w> - t(|z|^2 + |w|^2)/2); t = 0 is absolute."""
    z, point = cloud(50, complex_points=False), cloud(9, complex_points=False, seed=4)
    c = targets(z)
    h = FockKernel(0.0, 1e-3, scale=0.7, relative=t).fit(z, c)

    def kernel(a, b):
        a, b = (a - z.mean(0)) / h.unit, (b - z.mean(0)) / h.unit
        return torch.exp(a @ b.mT - t * (a.square().sum(1)[:, None] + b.square().sum(1)) / 2).numpy()

    oracle = KernelRidge(alpha=50 * 1e-3, kernel="precomputed").fit(kernel(z, z), c.numpy())
    expected = torch.as_tensor(oracle.predict(kernel(point, z)))
    torch.testing.assert_close(h(point) / h.unit_of_values(point)[:, None], expected, rtol=1e-9, atol=1e-9)
    absolute = [FockKernel(1.0, 1e-3, relative=r).fit(z, c)(point) for r in (0, False)]
    torch.testing.assert_close(*absolute, rtol=0, atol=0)


def test_the_size_is_the_largest_value_of_a_function_of_norm_one():
    z = cloud(20)
    h = FockKernel(0.7, 1e-2).fit(z, targets(z))
    assert bool((h(z).abs() / h.norm() <= h.size(z)[:, None]).all())
    own = FockKernel(0.7, 1e-2).fit(z, targets(z))
    own.points, own.coefficients = (z[:1] - own.centre) / own.unit, torch.ones(1, 1, dtype=torch.complex128)
    own.bias = torch.zeros(1, dtype=torch.float64)
    torch.testing.assert_close((own(z[:1]).abs() / own.norm())[:, 0], own.size(z[:1]))  # k_z itself attains it


def test_an_unfitted_kernel_serves_scikit_learn_as_it_is():
    z = cloud(30, complex_points=False)
    y = z[:, 0] * z[:, 1] > 0
    kernel = FockKernel(0.5, scale=1.0)
    machine = SVC(kernel=lambda a, b: kernel.gram(torch.as_tensor(a), torch.as_tensor(b)).numpy(), C=100.0)
    assert machine.fit(z.numpy(), y.numpy()).score(z.numpy(), y.numpy()) > 0.95


def test_refusals_say_what_to_do():
    with pytest.raises(ConfigError, match="ridge > 0"):
        FockKernel(ridge=0.0)
    with pytest.raises(ConfigError, match="Did you mean 'hinge'"):
        FockKernel(loss="hing")
    with pytest.raises(ConfigError, match="Leave them out for a hinge loss"):
        FockKernel(loss="hinge", landmarks=5)
    with pytest.raises(ConfigError, match="Use loss='squared-hinge'"):
        FockKernel(loss="hinge", relative=True)
    with pytest.raises(ConfigError, match=r"relative between 0 and 1, not 1\.5"):
        FockKernel(relative=1.5)
    with pytest.raises(ConfigError, match=r"Call fit\(z, targets\) first"):
        FockKernel()(cloud())
    with pytest.raises(DataError, match="Give samples"):
        FockKernel().fit(cloud(3), torch.zeros(4, 1))
    far = FockKernel().fit(cloud(), targets(cloud()))
    with pytest.raises(DomainError, match="larger scale"):
        far(cloud() * 1e4)
    assert math.isfinite(float(far.norm().sum()))
