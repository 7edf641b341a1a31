import pytest
import torch

from holomorph.calculus.wirtinger import wirtinger
from holomorph.errors import ConfigError, DataError
from holomorph.nn.embedding import Complexification, Pairing, embedding, random_rotation

g = torch.Generator().manual_seed(0)
IMAGES = torch.rand(3, 2, 4, 6, generator=g, dtype=torch.float64)
VECTORS = torch.rand(3, 8, generator=g, dtype=torch.float64)
ODD = torch.rand(3, 7, generator=g, dtype=torch.float64)
ALL = [Complexification(), Pairing(), Pairing("halves")]


@pytest.mark.parametrize("embed", ALL)
@pytest.mark.parametrize("x", [IMAGES, VECTORS, ODD])
def test_the_inverse_undoes_it_and_lengths_are_kept(embed, x):
    z = embed(x)
    assert z.shape[1:] == embed.complex_shape(tuple(x.shape[1:]))
    torch.testing.assert_close(embed.inverse(z), x)
    torch.testing.assert_close(z.abs().flatten(1).norm(dim=1), x.flatten(1).norm(dim=1))


def test_a_rotation_is_applied_first_and_undone():
    embed = Pairing(rotation=random_rotation(48))
    z = embed(IMAGES)
    assert z.shape[1:] == embed.complex_shape((2, 4, 6)) == (24,)
    torch.testing.assert_close(embed.inverse(z), IMAGES.flatten(1))


def hypothesis(z: torch.Tensor) -> torch.Tensor:
    return torch.stack([z[:, 0] ** 2 * z[:, 1] + 1j * z[:, 0], (z[:, 1] * 0.3).sin()], 1)


def real_gradients(embed, x):
    jacobian = torch.autograd.functional.jacobian(lambda v: torch.view_as_real(hypothesis(embed(v))), x)
    return torch.stack([jacobian[i, :, :, i] for i in range(len(x))])  # (batch, outputs, 2, n)


def test_under_pairing_both_gradients_have_the_length_of_the_derivative_and_are_orthogonal():
    x = VECTORS[:, :4]
    embed = Pairing()
    d = real_gradients(embed, x)
    length = wirtinger(hypothesis, embed(x))[0].detach().abs().norm(dim=2)
    torch.testing.assert_close(d[:, :, 0].norm(dim=2), length)
    torch.testing.assert_close(d[:, :, 1].norm(dim=2), length)
    assert float((d[:, :, 0] * d[:, :, 1]).sum(2).abs().max()) < 1e-14


def test_under_complexification_the_squares_of_both_gradients_add_up_to_that_of_the_derivative():
    x = VECTORS[:, :2]
    embed = Complexification()
    d = real_gradients(embed, x)
    length = wirtinger(hypothesis, embed(x))[0].detach().abs().norm(dim=2)
    torch.testing.assert_close(d.square().sum((2, 3)), length.square())
    assert float((d[:, :, 0].norm(dim=2) - length).abs().max()) > 0.1  # one gradient alone falls short


def test_names_and_refusals():
    assert isinstance(embedding("pairing-halves"), Pairing)
    with pytest.raises(ConfigError, match="Did you mean 'pairing'"):
        embedding("paring")
    with pytest.raises(ConfigError, match="neighbours"):
        Pairing("neighbors")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="orthogonal"):
        Pairing(rotation=2 * torch.eye(4))
    with pytest.raises(DataError, match="batch of samples"):
        Pairing()(torch.zeros(4))
