"""Linear maps against their dense matrices."""

import pytest
import torch
from torch import nn

from holomorph.enclosures.layers import layer
from holomorph.nn.classifiers import Normalise

D = torch.float64


def batch_norm(kind, channels):
    torch.manual_seed(3)
    part = kind(channels).double().eval()
    for values in (part.running_mean, part.bias.data, part.weight.data):
        values.normal_()
    part.running_var.uniform_(0.5, 2)
    return part


LAYERS = {
    "linear": (nn.Linear(5, 3), (5,)),
    "conv": (nn.Conv2d(2, 4, 3, stride=2, padding=1), (2, 7, 6)),
    "grouped": (nn.Conv2d(4, 6, (3, 2), padding=(2, 0), dilation=(2, 1), groups=2, bias=False), (4, 6, 5)),
    "same": (nn.Conv2d(1, 2, 5, padding="same"), (1, 6, 6)),
    "batch norm of features": (batch_norm(nn.BatchNorm1d, 5), (5,)),
    "batch norm of images": (batch_norm(nn.BatchNorm2d, 2), (2, 3, 3)),
    "normalise": (Normalise([0.1, 0.2], [0.5, -2.0]), (2, 3, 3)),
    "normalise all": (Normalise(0.1, 0.5), (2, 3, 3)),
    "average": (nn.AvgPool2d(3, stride=2, padding=1), (2, 6, 7)),
    "average without zeros": (nn.AvgPool2d(3, 2, padding=1, count_include_pad=False, ceil_mode=True), (2, 6, 7)),
    "adaptive": (nn.AdaptiveAvgPool2d((2, 3)), (2, 5, 7)),
    "flatten": (nn.Flatten(), (2, 3, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_map_transpose_and_moduli_are_those_of_the_dense_matrix(name):
    part, shape = LAYERS[name]
    part = part.double().eval()
    x = torch.randn(3, *shape, dtype=D, generator=torch.Generator().manual_seed(0))
    found = layer(part, D)
    assert torch.allclose(found(x), part(x), rtol=1e-13, atol=1e-13)
    matrix = torch.func.jacrev(lambda v: part(v.reshape(1, *shape)).flatten())(x[0].flatten())
    assert torch.allclose(found.apply(x).flatten(1), x.flatten(1) @ matrix.T, atol=1e-12)
    assert torch.allclose(found.absolute().apply(x).flatten(1), x.flatten(1) @ matrix.abs().T, atol=1e-12)
    a = torch.randn(part(x).shape, dtype=D, generator=torch.Generator().manual_seed(1))
    assert found.transpose(a, shape).shape == x.shape
    assert torch.allclose(found.transpose(a, shape).flatten(1), a.flatten(1) @ matrix, atol=1e-12)
    longest = max(int((matrix != 0).sum(axis).max()) for axis in (0, 1))
    assert found.terms(shape) == 0 or found.terms(shape) >= longest
