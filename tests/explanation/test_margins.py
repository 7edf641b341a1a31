"""Margins where they are known: linear models, radial quadratics, cubics along an axis, an ellipse."""

import functools
import math

import pytest
import torch
from torch import nn

from holomorph.errors import ConfigError, DataError, ModelError
from holomorph.explanation.first_order import first_order
from holomorph.explanation.margins import analytic
from holomorph.threats import ThreatModel

WIDE = (-100.0, 100.0)


def _linear(n=5, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(n, classes, dtype=torch.float64)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    x = torch.rand(20, n, generator=generator, dtype=torch.float64)
    return model, x, model(x).argmax(1).detach()


def _closed_form(model, x, y, q):
    """min_j m_j / |w_y - w_j|_q, the distance of a linear classifier's boundary without a box."""
    w, h = model.weight.detach(), model(x).detach()
    table = torch.full_like(h, math.inf)
    for j in range(h.shape[1]):
        other = y != j
        gap = h[other, y[other]] - h[other, j]
        table[other, j] = gap / torch.linalg.vector_norm(w[y[other]] - w[j], q, dim=1)
    return table.min(1)


@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_first_order_is_exact_for_a_linear_model(norm):
    model, x, y = _linear()
    threat = ThreatModel(norm, 0.1, box=WIDE)
    found, expected = first_order(model, x, y, threat), _closed_form(model, x, y, threat.q)
    assert torch.allclose(found.distance, expected.values)
    assert torch.equal(found.runner_up, expected.indices)


@pytest.mark.parametrize("norm", ["inf", "2", "1"])
@pytest.mark.parametrize("box", [WIDE, (0.0, 1.0)])
def test_the_point_found_lies_on_a_linear_models_boundary(norm, box):
    model, x, y = _linear(seed=1)
    found = first_order(model, x, y, ThreatModel(norm, 0.1, box=box))
    reached = torch.isfinite(found.distance)
    assert reached.sum() >= 15
    h = model(found.point[reached])
    gap = h.gather(1, y[reached, None]) - h.gather(1, found.runner_up[reached, None])
    assert gap.abs().max() < 1e-9
    assert h.argmax(1).ne(y[reached]).float().mean() < 1  # on the boundary, not past it
    assert (found.point >= box[0]).all()
    assert (found.point <= box[1]).all()


def test_the_box_only_lengthens_the_way():
    model, x, y = _linear(seed=2)
    free = first_order(model, x, y, ThreatModel("inf", 0.1, box=WIDE)).distance
    boxed = first_order(model, x, y, ThreatModel("inf", 0.1)).distance
    assert (boxed >= free - 1e-12).all()
    assert (boxed > free + 1e-3).any()


@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_analytic_equals_first_order_on_a_linear_model(norm):
    model, x, y = _linear(seed=3)
    threat = ThreatModel(norm, 0.1)
    one = first_order(model, x, y, threat)
    for runners_up in (None, 3):
        assert torch.allclose(one.distance, analytic(model, x, y, threat, runners_up=runners_up).distance)


class _Ring(nn.Module):
    """Class 0 outside a circle of radius r, class 1 inside; the margin is |x|^2 - r^2."""

    def __init__(self, radius):
        super().__init__()
        self.radius = radius

    def forward(self, x):
        square = x.square().sum(1)
        return torch.stack([square, torch.full_like(square, self.radius**2)], 1)


@pytest.mark.parametrize("runners_up", [None, 1])
def test_analytic_converges_faster_than_geometrically_to_a_radial_quadratics_boundary(runners_up):
    """On a ray Newton's method finds the radius: halving the digits' number of missing digits at each expansion."""
    x = torch.tensor([[0.8, 0.0], [0.3, 0.4], [-0.9, -0.9], [0.1, 0.2]], dtype=torch.float64)
    threat, radius = ThreatModel(2, 0.5, box=(-1, 1)), 0.3
    model = _Ring(radius)
    y = model(x).argmax(1)
    expected = (x.norm(dim=1) - radius).abs()
    naive = first_order(model, x, y, threat).distance  # (|x|^2 - r^2) / 2|x|: not the distance
    assert (naive - expected).abs().min() > 0.01
    errors = []
    for expansions in (3, 5, 8):
        found = analytic(model, x, y, threat, runners_up=runners_up, expansions=expansions)
        errors.append(float((found.distance - expected).abs().max()))
    assert errors[1] < errors[0] / 100
    assert errors[2] < 1e-12
    assert torch.allclose(found.point.norm(dim=1), torch.full((4,), radius, dtype=torch.float64), atol=1e-12)


def test_analytic_finds_a_cubic_margins_root():
    """m = (t - 0.2)(t^2 + 0.5) in the first coordinate."""

    def cubic(x):
        t = x[:, 0]
        return torch.stack([(t - 0.2) * (t**2 + 0.5), torch.zeros_like(t)], 1)

    x = torch.tensor([[0.5, 0.5], [0.4, 0.5]], dtype=torch.float64)
    y, threat = torch.zeros(2, dtype=torch.long), ThreatModel("inf", 0.1)
    expected = torch.tensor([0.3, 0.2], dtype=torch.float64)
    one = analytic(cubic, x, y, threat, expansions=1).distance
    assert torch.equal(one, first_order(cubic, x, y, threat).distance)
    assert (one - expected).abs().min() > 0.003
    assert torch.allclose(analytic(cubic, x, y, threat).distance, expected, atol=1e-12)


def test_what_was_crossed_bounds_the_distance_from_above():
    """Along an axis the distance is known; a crossing is a visited point with another prediction, so never nearer."""
    x = torch.tensor([[0.8, 0.0], [0.3, 0.4], [-0.9, -0.9], [0.1, 0.2]], dtype=torch.float64)
    model = _Ring(0.3)
    y = model(x).argmax(1)
    expected = (x.norm(dim=1) - 0.3).abs()
    found = analytic(model, x, y, ThreatModel(2, 0.5, box=(-1, 1)))
    seen = torch.isfinite(found.crossed)
    assert seen.any()
    assert (found.crossed[seen] >= expected[seen]).all()
    assert (found.crossed[seen] < 1.5 * expected[seen]).all()


def test_the_nearer_of_two_rivals_is_found_though_the_slope_prefers_the_other():
    """Class 1 seems nearer from the slope, but its margin turns convex; class 2 is linear and is the nearest."""

    def model(x):
        t, s = x[:, 0], x[:, 1]
        return torch.stack([torch.zeros_like(t), -(1 - 2 * t + t**2 + 0.01), -(0.7 - s)], 1)

    x, y = torch.tensor([[0.0, 0.0]], dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    threat = ThreatModel(2, 0.1)
    assert first_order(model, x, y, threat).runner_up.tolist() == [1]
    found = analytic(model, x, y, threat, runners_up=2)
    assert found.runner_up.tolist() == [2]
    assert found.distance.tolist() == pytest.approx([0.7])


def test_re_expansion_finds_the_nearest_point_of_an_ellipse():
    """Inside an ellipse the gradient does not point to the nearest boundary point; the re-expansions turn to it."""
    axes = torch.tensor([1.0, 2.0], dtype=torch.float64)

    def ellipse(x):
        square = (x / axes).square().sum(1)
        return torch.stack([torch.ones_like(square), square], 1)

    x = torch.tensor([[0.5, 0.7]], dtype=torch.float64)
    angle = torch.linspace(0, 2 * math.pi, 200001, dtype=torch.float64)
    boundary = torch.stack([angle.cos() * axes[0], angle.sin() * axes[1]], 1)
    expected = (boundary - x).norm(dim=1).min()
    threat, y = ThreatModel(2, 0.5, box=(-3, 3)), torch.zeros(1, dtype=torch.long)
    errors = [abs(float(analytic(ellipse, x, y, threat, expansions=k).distance[0] - expected)) for k in (1, 3, 8)]
    assert errors[0] > 0.1
    assert errors[1] < errors[0] / 100
    assert errors[2] < 1e-6


def test_separate_walks_find_the_rival_that_the_common_walk_loses():
    """At x class 1 leads and the walk down its margin never meets class 2's nearer boundary, behind x."""

    def model(x):
        t = x[:, 0]
        return torch.stack([torch.zeros_like(t), t - 1.0, -5 - 10 * t + 6 * (t > 0.05), t - 9], 1)

    x, y = torch.tensor([[0.0, 0.0]], dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    threat = ThreatModel(2, 0.1, box=(-2, 2))
    found = analytic(model, x, y, threat, runners_up=3)
    assert found.runner_up.tolist() == [2]
    assert found.distance.tolist() == pytest.approx([0.5])


def test_wrong_answers_have_distance_zero_and_stay():
    model, x, y = _linear(seed=4)
    wrong = (y + 1) % 4
    for estimate in (first_order, analytic, functools.partial(analytic, runners_up=2)):
        found = estimate(model, x, wrong, ThreatModel(2, 0.5))
        assert torch.equal(found.distance, torch.zeros(20, dtype=torch.float64))
        assert torch.equal(found.crossed, torch.zeros(20, dtype=torch.float64))
        assert torch.equal(found.point, x)


@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_samples_that_can_be_reached_are_not_infinitely_far(norm):
    """Twelve winding networks of the plane against a grid: first-order distances are infinite at 1 in 6 samples."""
    axis = torch.linspace(0, 1, 101, dtype=torch.float64)
    grid, lost, threat = torch.cartesian_prod(axis, axis), 0, ThreatModel(norm, 0.1)
    for seed in range(12):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(2, 20), nn.Tanh() if seed % 2 else nn.ReLU(), nn.Linear(20, 3)).double()
        model[0].weight.data.mul_(4)
        model[0].bias.data.mul_(3)
        x = torch.rand(40, 2, dtype=torch.float64)
        classes, y = model(grid).argmax(1).unique(), model(x).argmax(1)
        if len(classes) > 1:
            assert analytic(model, x, y, threat).distance.isfinite().all()
            lost += int(first_order(model, x, y, threat).distance.isinf().sum())
    assert lost > 20


def test_a_constant_model_is_infinitely_far():
    model = nn.Linear(3, 2, dtype=torch.float64)
    model.weight.data.zero_()
    model.bias.data.copy_(torch.tensor([1.0, 0.0]))
    x, y = torch.full((2, 3), 0.5, dtype=torch.float64), torch.zeros(2, dtype=torch.long)
    assert first_order(model, x, y, ThreatModel(2, 0.5)).distance.isinf().all()
    assert analytic(model, x, y, ThreatModel(2, 0.5)).distance.isinf().all()


def test_a_rival_without_a_slope_does_not_hide_the_others():
    model = nn.Linear(2, 3, dtype=torch.float64)
    model.weight.data.copy_(torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0]]))
    model.bias.data.copy_(torch.tensor([1.0, 0.9, 0.0]))  # class 1 is the strongest and cannot be reached
    x, y = torch.full((1, 2), 0.2, dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    for estimate in (first_order, functools.partial(analytic, runners_up=2)):
        found = estimate(model, x, y, ThreatModel("inf", 0.1))
        assert found.runner_up.tolist() == [2]
        assert found.distance.tolist() == pytest.approx([0.3])


def test_fewer_rivals_are_the_strongest_ones():
    model, x, y = _linear(seed=5)
    threat = ThreatModel(2, 0.5)
    assert (first_order(model, x, y, threat, runners_up=1).runner_up == model(x).topk(2).indices[:, 1]).all()
    assert torch.equal(
        first_order(model, x, y, threat, runners_up=99).runner_up, first_order(model, x, y, threat).runner_up
    )


def test_what_is_refused():
    model, x, y = _linear()
    threat = ThreatModel(2, 0.5)
    with pytest.raises(DataError, match="outside the box"):
        first_order(model, x + 2, y, threat)
    with pytest.raises(ModelError, match="K >= 2"):
        first_order(nn.Linear(5, 1, dtype=torch.float64), x, y * 0, threat)
    with pytest.raises(ConfigError, match="at least 1"):
        analytic(model, x, y, threat, expansions=0)
    with pytest.raises(ConfigError, match="runners_up"):
        first_order(model, x, y, threat, runners_up=0)
