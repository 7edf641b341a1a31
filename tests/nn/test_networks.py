import math

import pytest
import torch
from torch import nn

from holomorph.calculus import jets
from holomorph.calculus.wirtinger import wirtinger
from holomorph.errors import ConfigError, NotHolomorphicError
from holomorph.nn.activations import HOLOMORPHIC_ACTIVATIONS, Tanh
from holomorph.nn.classifiers import CNN, MLP, Normalise
from holomorph.nn.complexify import complexify, tube_width
from holomorph.nn.holomorphy import is_holomorphic
from holomorph.nn.networks import HolomorphicCNN, HolomorphicMLP, nearest_pole


def uniform(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", HOLOMORPHIC_ACTIVATIONS)
@pytest.mark.parametrize("embedding", ["pairing", "complexification"])
def test_perceptrons_are_holomorphic_with_every_activation(activation, embedding):
    torch.manual_seed(0)
    net = HolomorphicMLP((4,), 3, width=5, activation=activation, scale=2.0, embedding=embedding).double()
    z = net.embed(uniform(3, 4))
    d, dbar = (part.detach() for part in wirtinger(net.hypothesis, z))
    assert float(dbar.abs().max()) < 1e-10 * max(1.0, float(d.abs().max()))
    verdict = is_holomorphic(net, z)
    assert verdict, verdict.reason


@pytest.mark.parametrize("real_weights", [False, True])
def test_convolutional_networks_are_holomorphic(real_weights):
    torch.manual_seed(0)
    net = HolomorphicCNN((1, 8, 8), 3, width=2, real_weights=real_weights).double()
    x = uniform(2, 1, 8, 8)
    assert is_holomorphic(net, net.embed(x))
    assert net(x).shape == (2, 3)
    assert (float(net.hypothesis(net.embed(x)).detach().imag.abs().max()) < 1e-15) == real_weights


@pytest.mark.parametrize(
    ("layer", "name"), [(nn.ReLU(), "ReLU"), (nn.MaxPool1d(2), "MaxPool1d"), (nn.LayerNorm(4), "LayerNorm")]
)
def test_the_first_breaking_layer_is_named(layer, name):
    verdict = is_holomorphic(nn.Sequential(nn.Tanh(), layer), torch.randn(2, 4, dtype=torch.complex128))
    assert not verdict
    assert verdict.layer == "1"
    assert name in verdict.reason


class Modulus(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z * z.abs()


class Conjugating(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Tanh()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.inner(z) + 0.1 * z.conj()


def test_unknown_layers_are_caught_by_their_numbers():
    z = torch.randn(3, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    verdict = is_holomorphic(nn.Sequential(nn.Tanh(), nn.Identity(), Modulus()), z)
    assert verdict.layer == "2"
    assert verdict.residual > 1e-3
    between = is_holomorphic(Conjugating(), z)
    assert between.layer == ""
    assert "Between its layers" in between.reason


def test_the_nearest_pole_of_a_network_is_found():
    net = nn.Sequential(nn.Identity(), Tanh(scale=2.0))
    assert math.isclose(nearest_pole(net, torch.tensor([[0.0 + 1j, 3.0 + 1j]])), math.pi - 1, rel_tol=1e-6)


REAL = [
    *[MLP((4,), 3, width=6, activation=name) for name in ("gelu", "silu", "softplus", "tanh", "sin")],
    CNN((1, 6, 6), 2, width=2, activation="gelu"),
    nn.Sequential(Normalise(0.5, 0.25), nn.Linear(4, 4), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(4, 2)),
    nn.Sequential(nn.Conv2d(1, 2, 3), nn.Softplus(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 2)),
]


@pytest.mark.parametrize("net", REAL, ids=lambda net: type(net).__name__)
def test_the_extension_equals_the_network_on_real_inputs_and_is_holomorphic_off_them(net):
    net = net.double().eval()
    image = any(isinstance(m, nn.Conv2d) for m in net.modules())
    x = uniform(2, 1, 6, 6) if image else uniform(2, 4)
    extended = complexify(net).eval()
    torch.testing.assert_close(extended(x), net(x))
    torch.testing.assert_close(extended(torch.complex(x, 0 * x)), net(x).to(torch.complex128), atol=1e-13, rtol=1e-12)
    verdict = is_holomorphic(extended, torch.complex(x, 0.1 * x))
    assert verdict, verdict.reason


def test_the_extension_follows_the_forward_functions_of_containers():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act = nn.Linear(4, 4), nn.GELU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.act(self.a(x))

    net = nn.Sequential(Block(), nn.Linear(4, 1)).double()
    extended = complexify(net)
    assert is_holomorphic(extended, torch.randn(3, 4, dtype=torch.complex128))
    with pytest.raises(NotHolomorphicError, match="Sequential networks only, not for Block"):
        tube_width(extended)


def test_a_layer_that_stands_in_two_places_is_extended_in_both():
    layer, act = nn.Linear(4, 4), nn.GELU()
    net = nn.Sequential(layer, act, layer, act, nn.Linear(4, 1)).double()
    extended = complexify(net)
    x = uniform(2, 4)
    torch.testing.assert_close(extended(torch.complex(x, 0 * x)).real, net(x))
    assert tube_width(extended) == math.inf


def test_what_has_no_extension_is_named():
    with pytest.raises(NotHolomorphicError, match=r"Layer '1\.0' \(MaxPool2d\).*average pooling"):
        complexify(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Sequential(nn.MaxPool2d(2))))


def test_the_tube_of_one_layer_is_exact_and_networks_of_entire_functions_have_no_edge():
    linear = nn.Linear(2, 1).double()
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[3.0, -1.0]]))
    assert math.isclose(tube_width(complexify(nn.Sequential(linear, nn.Tanh()))), math.pi / 8, rel_tol=1e-9)
    assert math.isclose(tube_width(complexify(nn.Sequential(nn.Softplus(beta=5.0)))), math.pi / 5, rel_tol=1e-9)
    assert math.isclose(tube_width(complexify(nn.Sequential(nn.SiLU()))), math.pi, rel_tol=1e-7)
    assert math.isinf(tube_width(complexify(MLP((4,), 2, width=3, activation="gelu"))))
    assert math.isinf(tube_width(complexify(MLP((4,), 2, width=3, activation="sin"))))


@pytest.mark.parametrize("activation", ["tanh", "softplus", "silu"])
def test_pre_activations_stay_off_the_singular_lines_inside_the_tube(activation):
    """Random points just inside the tube: the bound of every layer's imaginary part holds."""
    torch.manual_seed(0)
    net = MLP((4,), 2, width=6, depth=3, activation=activation).double()
    extended = complexify(net)
    rho = tube_width(extended)
    assert 0 < rho < math.pi
    heights = []
    for layer in extended.modules():
        if isinstance(layer, nn.Tanh | nn.Softplus | nn.SiLU):
            layer.register_forward_pre_hook(
                lambda _m, inputs: heights.append(float(inputs[0].imaginary.detach().abs().max()))
            )
    x = 3 * torch.randn(500, 4, dtype=torch.float64)
    sign = (torch.randint(0, 2, x.shape) * 2 - 1).double()
    extended(torch.complex(x, 0.999 * rho * sign))
    edge = {"tanh": math.pi / 2, "softplus": math.pi / 5, "silu": math.pi}[activation]
    assert len(heights) == 3
    assert max(heights) < edge


class Shape(nn.Module):
    """A linear layer, and then a function that is no layer."""

    def __init__(self, function) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(3, 3), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.linear(x))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda h: nn.functional.normalize(h, dim=1), "normalize"),
        (lambda h: (h - h.mean(1, keepdim=True)) / h.std(1, keepdim=True), "std"),
        (torch.abs, "abs"),
        (lambda h: nn.functional.softplus(h, 1.0, 1.0), "softplus with threshold 1"),
    ],
)
def test_what_is_not_analytic_is_refused_in_a_forward_function_as_by_the_calculus(function, name):
    net = Shape(function).double()
    z = torch.complex(uniform(2, 3), 0.1 * uniform(2, 3))
    for extended in (complexify(net), jets.analytic_extension(net)):
        with pytest.raises(NotHolomorphicError, match=f"In module.*{name}"):
            extended(z)


def test_a_layer_norm_is_extended():
    net = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 2)).double()
    x = uniform(2, 3)
    assert is_holomorphic(complexify(net), torch.complex(x, 0.1 * x))


def test_refuses_vectors_for_the_convolutional_network():
    with pytest.raises(ConfigError, match="takes images"):
        HolomorphicCNN((4,), 2)
