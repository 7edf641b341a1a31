import math

import mpmath
import pytest
import torch

from holomorph.calculus.wirtinger import cauchy_riemann_residual
from holomorph.errors import ConfigError, DomainError
from holomorph.nn import activations
from holomorph.nn.networks import HolomorphicMLP

FORMULAS = {
    "exp": mpmath.exp,
    "sin": mpmath.sin,
    "sinh": mpmath.sinh,
    "erf": mpmath.erf,
    "quadratic": lambda z: z + z * z / 10,
    "polynomial": lambda z: z + z * z / 10,
    "tanh": mpmath.tanh,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "rational": lambda z: z / (1 + z * z),
}


def points() -> torch.Tensor:
    return torch.randn(6, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", activations.HOLOMORPHIC_ACTIVATIONS)
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_values_and_holomorphy(name, scale):
    sigma = activations.activation(name, scale).double()
    z = points()
    expected = [scale * complex(FORMULAS[name](mpmath.mpc(w / scale))) for w in z.flatten().tolist()]
    torch.testing.assert_close(sigma(z).detach().flatten(), torch.tensor(expected, dtype=z.dtype), rtol=1e-7, atol=1e-9)
    assert float(cauchy_riemann_residual(sigma, z).detach()) < 1e-20


@pytest.mark.parametrize(
    ("sigma", "pole"),
    [(activations.Tanh(), 1.5j * math.pi), (activations.Sigmoid(), -3j * math.pi), (activations.Rational(), 1j)],
)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_poles_are_measured_and_detected(sigma, pole, scale):
    sigma.scale = scale
    away = torch.tensor([0.3 + 0.4j], dtype=torch.complex128) * 0.1
    near = torch.tensor([pole * scale], dtype=torch.complex128)
    torch.testing.assert_close(sigma.pole_distance(near + away), away.abs())
    assert float(sigma(near + away).detach().abs()) > 5 * scale
    with pytest.raises(DomainError, match="at a pole"):
        sigma(near)


def test_entire_functions_have_no_poles():
    assert math.isinf(float(activations.Exp().pole_distance(points()).min()))
    assert activations.Exp.entire
    assert not activations.Tanh.entire


def test_overflow_is_an_error_that_names_the_activation():
    with pytest.raises(DomainError, match=r"Exp overflowed at \|z\| = 1e\+03"):
        activations.Exp()(torch.tensor([1000.0 + 0j]))
    assert bool(torch.isfinite(activations.Exp(scale=50.0)(torch.tensor([1000.0 + 0j]))).all())


@pytest.mark.parametrize("sigma", [activations.Quadratic(), activations.Polynomial(4)])
def test_coefficients_learn(sigma):
    z = points().to(torch.complex64)
    target = z + (0.5 + 0.5j) * z * z
    optimiser = torch.optim.Adam(sigma.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (sigma(z) - target).abs().square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


def test_refusals():
    with pytest.raises(ConfigError, match="Did you mean 'sinh'"):
        activations.activation("sinhh")
    with pytest.raises(ConfigError, match="must be positive"):
        activations.activation("sin", 0.0)
    with pytest.raises(ConfigError, match="degree >= 2"):
        activations.Polynomial(1)


@pytest.mark.parametrize("name", sorted(activations.HOLOMORPHIC_ACTIVATIONS))
def test_every_holomorphic_network_is_exported_as_a_real_program(name):
    torch.manual_seed(0)
    model, x = HolomorphicMLP((2,), 3, width=4, activation=name).eval(), torch.rand(5, 2)
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(model, (x[:2],), dynamic_shapes=shapes).module()
    torch.testing.assert_close(program(x), model(x))
