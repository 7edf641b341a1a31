import pytest
import torch
from torch import nn

from holomorph.calculus.wirtinger import cauchy_riemann_residual, wirtinger
from holomorph.errors import ConfigError
from holomorph.nn import layers


def points(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))


LAYERS = [
    (layers.ComplexLinear(4, 3), (5, 4)),
    (layers.ComplexLinear(4, 3, real=True), (5, 4)),
    (layers.ComplexConv1d(2, 3, 3, padding=1), (2, 2, 6)),
    (layers.ComplexConv1d(2, 3, 3, real=True), (2, 2, 6)),
    (layers.ComplexConv2d(2, 3, 3, stride=2), (2, 2, 5, 5)),
    (layers.ComplexConv2d(2, 3, 3, padding=1, real=True), (2, 2, 4, 4)),
    (layers.ComplexAvgPool(2), (2, 2, 4, 4)),
    (layers.ComplexAvgPool(3, 1), (2, 2, 6)),
    (layers.ComplexDropout(0.5).eval(), (3, 4)),
    (layers.Residual(layers.ComplexLinear(4, 4)), (3, 4)),
    (nn.Flatten(), (3, 2, 2)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda v: type(v).__name__)
def test_dbar_of_every_layer_vanishes(layer, shape):
    layer = layer.double()
    assert float(cauchy_riemann_residual(layer, points(*shape)).detach()) < 1e-28
    assert float(wirtinger(layer, points(*shape))[1].detach().abs().max()) < 1e-14


@pytest.mark.parametrize("real", [False, True])
def test_linear_and_convolution_are_what_their_weights_say(real):
    linear = layers.ComplexLinear(4, 3, real=real).double()
    torch.nn.init.normal_(linear.bias_real)
    z = points(5, 4)
    expected = torch.einsum("oi,bi->bo", linear.weight.to(z.dtype), z) + linear.bias
    torch.testing.assert_close(linear(z), expected)
    conv = layers.ComplexConv2d(2, 3, 3, stride=2, real=real).double()
    torch.nn.init.normal_(conv.bias_real)
    image = points(2, 2, 5, 5)
    patches = image.unfold(2, 3, 2).unfold(3, 3, 2)
    expected = torch.einsum("oikl,bixykl->boxy", conv.weight.to(image.dtype), patches) + conv.bias[:, None, None]
    torch.testing.assert_close(conv(image), expected)
    signal = layers.ComplexConv1d(2, 3, 3, stride=2, real=real).double()
    torch.nn.init.normal_(signal.bias_real)
    z = points(2, 2, 7)
    expected = torch.einsum("oik,bixk->box", signal.weight.to(z.dtype), z.unfold(2, 3, 2)) + signal.bias[:, None]
    torch.testing.assert_close(signal(z), expected)


def test_gausss_three_products_equal_four(monkeypatch):
    layer = layers.ComplexLinear(6, 5).double()
    z = points(4, 6)
    torch.testing.assert_close(layers.gauss_linear(z, layer.weight_real, layer.weight_imag), layer(z))
    before = layer(z)
    monkeypatch.setattr("holomorph.nn.layers._GAUSS_FROM", 1)
    torch.testing.assert_close(layer(z), before)


@pytest.mark.parametrize("real", [False, True])
def test_initial_weights_keep_the_variance(real):
    """1e5 weights: the mean square has a standard deviation of at most 0.0045, the bounds are six of them."""
    torch.manual_seed(0)
    layer = layers.ComplexLinear(400, 250, real=real)
    assert abs(float(layer.weight.detach().abs().square().mean()) * 400 - 1) < 0.027


def test_dropout_uses_one_mask_for_both_parts():
    torch.manual_seed(0)
    z = points(50, 40)
    ratio = layers.ComplexDropout(0.5)(z) / z
    torch.testing.assert_close(ratio.imag, torch.zeros_like(ratio.imag))
    assert set(ratio.real.round(decimals=9).unique().tolist()) == {0.0, 2.0}


def test_refusals():
    with pytest.raises(ConfigError, match="dropout rate"):
        layers.ComplexDropout(1.0)
    with pytest.raises(ConfigError, match="Pooling takes"):
        layers.ComplexAvgPool(2)(points(3, 4))
