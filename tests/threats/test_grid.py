"""Grids of data, and points of them near others."""

import pytest
import torch

from holomorph.threats import ThreatModel
from holomorph.threats.grid import Grid, grid_of, grid_of_columns
from holomorph.threats.norms import norm


@pytest.mark.parametrize("levels", [1, 10, 16, 255])
def test_a_grid_is_recognised_and_its_points_stay(levels: int) -> None:
    x = (levels * torch.rand(20, 7, generator=torch.Generator().manual_seed(0))).round() / levels
    grid = grid_of(x)
    assert grid is not None
    assert 1 / float(grid.step) == pytest.approx(levels)
    assert torch.equal(grid.snap(x), x)
    assert torch.equal(grid.snap(x + 0.3 / levels), x)


def test_continuous_data_lie_on_no_grid() -> None:
    assert grid_of(torch.rand(50, 3, generator=torch.Generator().manual_seed(0))) is None


@pytest.mark.parametrize("p", ["inf", "2", "1"])
def test_points_of_the_grid_lie_inside_the_threat(p: str) -> None:
    draws = torch.Generator().manual_seed(0)
    x = (255 * torch.rand(50, 12, generator=draws)).round() / 255
    threat = ThreatModel(p, {"inf": "8/255", "2": 0.1, "1": 0.3}[p])
    z = (x + 0.2 * (torch.rand(50, 12, generator=draws) - 0.5)).clamp(0, 1)
    z = x + (z - x) * (threat.radius / norm(z - x, threat.p)).clamp(max=1)[:, None]
    grid = grid_of(x)
    assert grid is not None
    near = grid.inside(x, z, threat)
    assert torch.equal(grid.snap(near), near)
    assert float(norm(near - x, threat.p).max()) <= threat.radius * (1 + 1e-5)
    assert bool((near != x).any()), "not all are rounded back to the sample"


def test_a_corner_of_the_cube_stays_a_corner() -> None:
    x = torch.full((1, 4), 100 / 255)
    threat = ThreatModel("inf", "8/255")
    grid = grid_of(x)
    assert grid is not None
    corner = x + threat.radius * torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    assert (255 * grid.inside(x, corner, threat)).round().tolist() == [[108.0, 92.0, 108.0, 92.0]]


def test_columns_of_a_table_have_grids_of_their_own() -> None:
    raw = torch.tensor([[3.0, 0.1234], [7.0, 0.77]], dtype=torch.float64)
    low, unit = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.tensor([2.0, 1.0], dtype=torch.float64)
    grid = grid_of_columns((raw - low) / unit, low, unit)
    assert isinstance(grid, Grid)
    assert grid.step.tolist() == [0.5, 0.0]
    assert grid.snap(torch.tensor([[1.3, 0.456]], dtype=torch.float64)).tolist() == [[1.5, 0.456]]
