import pytest
import torch

from holomorph.calculus.laplacian import laplacian
from holomorph.errors import ConfigError, ModelError
from holomorph.nn.embedding import Pairing
from holomorph.nn.readout import CodeReadout, ModulusReadout, RealReadout, make_codes, readout


def test_the_nearest_code_wins_and_is_its_own_class():
    for name, classes in (("signs", 2), ("one-hot", 4), ("roots", 5)):
        codes = make_codes(name, classes)
        logits = CodeReadout(classes, name)(codes)
        assert logits.argmax(1).tolist() == list(range(classes))
        torch.testing.assert_close(logits.diagonal(), torch.zeros(classes, dtype=torch.float64))


def test_roots_of_unity_are_evenly_spaced_on_the_circle():
    codes = make_codes("roots", 6)[:, 0]
    torch.testing.assert_close(codes**6, torch.ones(6, dtype=codes.dtype))
    assert len({(round(c.real, 9), round(c.imag, 9)) for c in codes.tolist()}) == 6


def difference(read, h, x):
    return (lambda logits: logits[:, :1] - logits[:, 1:2])(read(h(Pairing()(x))))


@pytest.mark.parametrize("name", ["real", "codes", "roots", "modulus"])
def test_differences_of_logits_are_harmonic_exactly_where_stated(name):
    read = readout(name, 3)

    def h(z):
        return torch.cat([z**2, z.exp(), z], 1)[:, : read.outputs]

    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    size = float(laplacian(lambda v: difference(read, h, v), x).detach().abs().max())
    assert (size < 1e-12) == read.pluriharmonic


def test_one_output_serves_two_classes_and_signs_agree():
    h = torch.tensor([[0.3 - 2j], [-0.1 + 1j]])
    assert RealReadout(2)(h).argmax(1).tolist() == CodeReadout(2, "signs")(h).argmax(1).tolist() == [1, 0]


def test_refusals():
    with pytest.raises(ModelError, match="expects"):
        ModulusReadout(3)(torch.zeros(2, 2, dtype=torch.complex64))
    with pytest.raises(ConfigError, match="two classes, not 3"):
        make_codes("signs", 3)
    with pytest.raises(ConfigError, match="at least two"):
        make_codes("roots", 1)
    with pytest.raises(ConfigError, match="Unknown read-out"):
        readout("imaginary", 2)
