import pytest
import torch
from torch import nn

from holomorph.calculus import Noise, Segments, gaussian_energy
from holomorph.errors import ConfigError, DataError, DomainError, ModelError


def seed(number=0):
    return torch.Generator().manual_seed(number)


def two_layers(inputs, hidden, outputs=2):
    with torch.random.fork_rng():
        torch.manual_seed(inputs * 100 + hidden)
        return nn.Linear(inputs, hidden).double(), nn.Linear(hidden, outputs).double()


@pytest.mark.slow
@pytest.mark.parametrize(("inputs", "hidden"), [(1, 3), (2, 5), (5, 8), (20, 4)])
@pytest.mark.parametrize("activation", [torch.tanh, nn.functional.gelu])
def test_gaussian_energy_against_a_million_points(inputs, hidden, activation):
    """Eight cases at 5 standard errors: false alarm below 1e-5."""
    first, last = two_layers(inputs, hidden)
    mean = torch.linspace(-0.5, 0.5, inputs, dtype=torch.float64)
    closed = gaussian_energy(first, activation, last, mean=mean, deviation=0.8).value.item()
    x = mean + 0.8 * torch.randn(10**6, inputs, dtype=torch.float64, generator=seed())
    with torch.no_grad():  # |J|^2 through W and V, without a million Jacobians of autograd
        slope = torch.func.jvp(activation, (first(x),), (torch.ones(10**6, hidden, dtype=torch.float64),))[1]
        mixing, inner = last.weight.T @ last.weight, first.weight @ first.weight.T
        values = torch.einsum("bi,ij,bj->b", slope, mixing * inner, slope)
    assert closed == pytest.approx(values.mean().item(), abs=5 * values.std().item() / 1000)


def test_gaussian_energy_is_differentiable_also_where_units_are_parallel():
    first, last = two_layers(3, 3, 1)
    with torch.no_grad():
        first.weight[1] = 2 * first.weight[0]

    def energy(weight, bias, read_out):
        a, b = nn.Linear(3, 3).double(), nn.Linear(3, 1).double()
        del a.weight, a.bias, b.weight
        a.weight, a.bias, b.weight = weight, bias, read_out
        return gaussian_energy(a, torch.tanh, b).value

    first.weight.data[1] += 0.3  # finite differences need to leave the parallel case themselves
    inputs = tuple(p.detach().clone().requires_grad_() for p in (first.weight, first.bias, last.weight))
    assert torch.autograd.gradcheck(energy, inputs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-3)])
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_gaussian_energy_does_not_depend_on_the_units_of_the_inputs(dtype, tolerance, scale):
    first, last = two_layers(3, 4)
    whole = gaussian_energy(first, torch.tanh, last).value.item()
    first.weight.data *= scale
    first, last = first.to(dtype), last.to(dtype)
    found = gaussian_energy(first, torch.tanh, last, deviation=1 / scale).value.item()
    assert found / scale**2 == pytest.approx(whole, rel=tolerance)


def test_gaussian_energy_refuses():
    first, last = two_layers(2, 3)
    with pytest.raises(ModelError, match="do not fit"):
        gaussian_energy(first, torch.tanh, first)
    with pytest.raises(ConfigError):
        gaussian_energy(first, torch.tanh, last, deviation=0.0)
    with pytest.raises(DomainError, match="does not settle: 1024 points"):
        gaussian_energy(first, torch.relu, last)
    first.weight.data[0] = 1e4  # bends between the points, in steps of 1e2 or more, where its slope is 0
    first.bias.data[0] = 1234.5
    with pytest.raises(DomainError, match="does not settle"):
        gaussian_energy(first, torch.tanh, last)


def test_gaussian_energy_of_long_and_nearly_parallel_weights_is_right_or_refused():
    """Against a plain sum over a fine grid of the two inputs."""
    first, last = two_layers(2, 2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[2.7, 0.0], [2.69, 0.2]]))
    grid = torch.linspace(-9, 9, 1201, dtype=torch.float64)
    mass = torch.exp(-grid.square() / 2)
    mass = mass / mass.sum()
    points = torch.cartesian_prod(grid, grid)
    with torch.no_grad():
        slope = 1 - torch.tanh(first(points)).square()
        mixing, inner = last.weight.T @ last.weight, first.weight @ first.weight.T
        each = torch.einsum("bi,ij,bj->b", slope, mixing * inner, slope)
    found = gaussian_energy(first, torch.tanh, last)
    exact = (torch.outer(mass, mass).flatten() * each).sum().item()
    assert found.value.item() == pytest.approx(exact, rel=1e-8)
    assert abs(found.value.item() - exact) <= found.error + 1e-12


def test_segments_stay_between_classes():
    y = torch.tensor([0, 0, 1, 1, 1])
    x = y[:, None, None].double().expand(5, 2, 2) * 10
    drawn = torch.stack([Segments().draw(x, seed(s), y) for s in range(200)])
    assert ((drawn >= 0) & (drawn <= 10)).all()
    assert drawn.std() > 2  # uniform on [0, 10] has 2.9
    torch.testing.assert_close(drawn[..., 0, 0], drawn[..., 1, 1])  # one t for a sample
    near = torch.stack([Segments(share=0.5).draw(x, seed(s), y) for s in range(50)])
    assert (near[:, :2] <= 5).all()
    assert (near[:, 2:] >= 5).all()
    assert torch.equal(Segments().draw(x, seed(1), y), Segments().draw(x, seed(1), y))


def test_segments_need_labels_and_two_classes():
    with pytest.raises(ConfigError, match="labels"):
        Segments().draw(torch.zeros(2, 1), seed())
    with pytest.raises(DataError, match="two classes"):
        Segments().draw(torch.zeros(2, 1), seed(), torch.tensor([1, 1]))


def test_noise_has_its_deviation():
    x = torch.full((1000, 20), 0.5, dtype=torch.float64)
    drawn = Noise(0.2).draw(x, seed()) - x
    assert drawn.std().item() == pytest.approx(0.2, rel=0.03)  # 20,000 draws: 6 sigma
    assert drawn.dtype == x.dtype
