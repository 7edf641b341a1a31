import math

import pytest
import torch

from holomorph.errors import ConfigError, DataError
from holomorph.exact import FockKernel
from holomorph.nn.embedding import Pairing
from holomorph.nn.networks import HolomorphicMLP
from holomorph.research.geometry import crossing_angles, decision_boundary, disc_image, orthogonality, steepest_path
from holomorph.research.planar import PLANAR_SETS, planar
from holomorph.research.separability import can_separate


def circle(x: torch.Tensor) -> torch.Tensor:
    s = (x.square().sum(1) - 1)[:, None]
    return torch.cat([s, -s], 1)


def test_the_boundary_of_a_circle_is_found_with_its_normals():
    found = decision_boundary(circle, (-2.0, 2.0), 101)
    length = found.points.norm(dim=1)
    assert float((length - 1).abs().max()) < 1e-7  # spacing 0.04/64, error of second order
    torch.testing.assert_close(found.normals.abs(), (found.points / length[:, None]).abs(), atol=1e-12, rtol=0)


def test_three_classes_meet_in_their_boundaries():
    found = decision_boundary(lambda x: torch.stack([x[:, 0], -x[:, 0] + x[:, 1], -x[:, 0] - x[:, 1]], 1), (-1.0, 1.0))
    x, y = found.points.unbind(1)
    on_lines = torch.stack([(2 * x - y).abs(), (2 * x + y).abs(), y.abs()], 1).amin(1)
    assert float(on_lines.max()) < 1e-12


@pytest.mark.parametrize(("slope", "degrees"), [(0.0, 90.0), (1.0, 45.0)])
def test_angles_to_a_line_are_exact(slope, degrees):
    """The boundary x = slope * y crosses the x axis."""
    found = decision_boundary(lambda x: (x[:, :1] - slope * x[:, 1:]) * torch.tensor([1.0, -1.0]), (-1.0, 1.0), 60)
    curve = torch.stack([torch.linspace(-1, 1, 50), torch.zeros(50)], 1).double()
    tangent = torch.tensor([[1.0, 0.0]]).double().expand(50, 2)
    angles = crossing_angles(found, curve, tangent)
    torch.testing.assert_close(angles, torch.full_like(angles, degrees))
    assert len(crossing_angles(found, curve + 9, tangent)) == 0


def test_no_boundary_gives_no_angles():
    found = decision_boundary(lambda x: torch.tensor([[1.0, 0.0]]).expand(len(x), 2), (-1.0, 1.0), 10)
    assert len(crossing_angles(found, torch.zeros(1, 2), torch.ones(1, 2))) == 0


def test_sample_curve_and_boundary_of_a_holomorphic_network_cross_at_right_angles():
    """Under pairing in C this is an identity wherever h' is not zero."""
    torch.manual_seed(0)
    net = HolomorphicMLP((2,), 2, width=6).double()
    z = net.embed(torch.randn(20, 2, dtype=torch.float64))
    assert float(orthogonality(net.hypothesis, z).abs().max()) < 1e-12
    assert float(orthogonality(lambda z: z + 0.3 * z.conj() * z, z).abs().max()) > 0.01


def test_the_area_of_the_image_is_the_energy_over_the_disc():
    data = planar("moons", 40)
    embed = Pairing()
    h = FockKernel(1.0, 1e-3).fit(embed(data.x), (2.0 * data.y - 1)[:, None].double())
    found = disc_image(h, 0.2 + 0.1j, 0.8)
    assert math.isclose(found.area, found.energy, rel_tol=1e-9)
    assert found.area > 0.1
    with pytest.raises(DataError, match="must be positive"):
        disc_image(h, 0.0, 0.0)


def test_steepest_paths_end_at_the_boundary():
    x = torch.tensor([[0.4, 0.0], [0.0, 1.7]], dtype=torch.float64)
    path = steepest_path(circle, x, torch.tensor([1, 0]), step=0.05)
    assert path.shape == (101, 2, 2)
    torch.testing.assert_close(path[-1].norm(dim=1), torch.ones(2, dtype=torch.float64), atol=0.05, rtol=0)


@pytest.mark.parametrize("name", PLANAR_SETS)
def test_samples_lie_along_the_stated_curve(name):
    data = planar(name, 120, noise=0.0)
    distance = torch.cdist(data.x, data.curve).amin(1)
    assert float(distance.max()) < 0.02
    torch.testing.assert_close(data.tangent.norm(dim=1), torch.ones(len(data.tangent), dtype=torch.float64))
    assert data.y.bincount().min() >= 40
    assert float((planar(name, 120).x - data.x).norm(dim=1).mean()) > 0.03


def test_planar_refusals():
    with pytest.raises(ConfigError, match="Did you mean 'moons'"):
        planar("moon")
    with pytest.raises(ConfigError, match="3 classes"):
        planar("blobs", 2)


@pytest.mark.parametrize(
    ("name", "embedding", "readout", "verdict"),
    [
        ("circles", "pairing", "real", "no"),
        ("circles", "pairing", "roots", "no"),
        ("circles", "pairing", "modulus", "yes"),
        ("circles", "complexification", "real", "yes"),
        ("moons", "pairing", "real", "yes"),
        ("line", "pairing", "real", "yes"),
        ("spirals", "pairing", "real", "not found"),
    ],
)
def test_what_can_be_separated_is_said_before_training(name, embedding, readout, verdict):
    data = planar(name, 150)
    found = can_separate(data.x, data.y, embedding_name=embedding, readout_name=readout)
    assert found.verdict == verdict, found.reason
    assert bool(found) == (verdict == "yes")


def test_a_surrounded_class_is_named_and_overlap_is_no_obstruction():
    data = planar("circles", 150)
    found = can_separate(data.x, data.y)
    assert found.surrounded == ((1, 0),)
    assert "Class 0 surrounds samples of class 1" in found.reason
    mixed = can_separate(data.x, torch.randint(0, 2, (150,), generator=torch.Generator().manual_seed(0)))
    assert mixed.verdict == "not found"
    with pytest.raises(DataError, match="in the plane"):
        can_separate(torch.zeros(3, 4), torch.tensor([0, 1, 0]))
