"""Activations over intervals, against dense grids and derivatives by automatic differentiation."""

import math

import mpmath
import pytest
import torch
from torch.nn import functional as F

from holomorph.enclosures import curves

CURVES = {
    "gelu": (curves.GELU, F.gelu),
    "silu": (curves.SILU, F.silu),
    "tanh": (curves.TANH, torch.tanh),
    "sigmoid": (curves.SIGMOID, torch.sigmoid),
    "sin": (curves.SINE, torch.sin),
    "softplus": (curves.soft_plus(5.0, 20.0), lambda z: F.softplus(z, 5.0)),
    "relu": (curves.RELU, torch.relu),
}
every = pytest.mark.parametrize("name", CURVES)


def intervals(count=300, seed=0):
    generator = torch.Generator().manual_seed(seed)
    middle = 8 * torch.rand(count, generator=generator, dtype=torch.float64) - 4
    width = 10 ** (4 * torch.rand(count, generator=generator, dtype=torch.float64) - 3)
    return middle - width / 2, middle + width / 2


def inside(low, high, points=2001):
    return low[:, None] + (high - low)[:, None] * torch.linspace(0, 1, points, dtype=torch.float64)


@every
def test_ranges_are_those_of_a_dense_grid(name):
    curve, function = CURVES[name]
    low, high = intervals()
    grid = function(inside(low, high))
    least, most = curve.range(low, high)
    assert (least <= grid.amin(1) + 1e-15).all()
    assert (most >= grid.amax(1) - 1e-15).all()
    missed = ((high - low) / 2000).square()  # what the grid can miss at a turning point
    assert (grid.amin(1) - least <= missed + 1e-12).all()
    assert (most - grid.amax(1) <= missed + 1e-12).all()


@every
def test_slopes_hold_every_chord_and_are_no_wider_than_the_derivative(name):
    curve, function = CURVES[name]
    low, high = intervals(seed=1)
    z = inside(low, high)
    least, most = curve.slopes(low, high)
    chords = (function(z[:, 1:]) - function(z[:, :-1])) / (z[:, 1:] - z[:, :-1])
    noise = (1e-14 * (1 + z.abs().amax(1)) + curve.absolute) / (z[:, 1] - z[:, 0])
    assert (least - noise <= chords.amin(1)).all()
    assert (most + noise >= chords.amax(1)).all()
    z.requires_grad_()
    (derivative,) = torch.autograd.grad(function(z).sum(), z)
    assert (derivative.amin(1) - least <= (high - low) / 500 + 1e-9).all()
    assert (most - derivative.amax(1) <= (high - low) / 500 + 1e-9).all()


@every
def test_bands_hold_the_curve_and_are_at_most_a_little_wider_than_they_must_be(name):
    curve, function = CURVES[name]
    low, high = intervals(seed=2)
    slope, offset, half = curve.band(low, high)
    rest = function(inside(low, high)) - slope[:, None] * inside(low, high)
    assert (rest >= (offset - half)[:, None] - 1e-15).all()
    assert (rest <= (offset + half)[:, None] + 1e-15).all()
    need = (rest.amax(1) - rest.amin(1)) / 2
    missed = (high - low) / 2000 if name == "relu" else (high - low).square() / 1024 * curve.curvature
    assert (half - need <= missed + 1e-12).all()


@every
def test_torch_stays_within_the_stated_tolerance(name):
    curve, function = CURVES[name]
    z = torch.cat([torch.linspace(-30, 30, 600_001), torch.logspace(-20, 1.5, 2000), -torch.logspace(-20, 1.5, 2000)])
    for part in (z, z[::7], z[:5]):  # vectorised and not
        off = (function(part).double() - function(part.double())).abs()
        assert (off <= curve.tolerance(part.abs().double(), 2.0**-24)).all()


EXACT = {
    "gelu": lambda z: z * mpmath.ncdf(z),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "tanh": mpmath.tanh,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "sin": mpmath.sin,
    "softplus": lambda z: mpmath.log1p(mpmath.exp(5 * z)) / 5,
}


@pytest.mark.parametrize("name", EXACT)
def test_double_precision_stays_within_the_stated_tolerance(name):
    curve, function = CURVES[name]
    with mpmath.workdps(40):
        for z in [k / 7 for k in range(-210, 211)]:
            off = abs(mpmath.mpf(float(function(torch.tensor(z, dtype=torch.float64)))) - EXACT[name](mpmath.mpf(z)))
            assert off <= float(curve.tolerance(torch.tensor(abs(z), dtype=torch.float64), 2.0**-53))


@pytest.mark.parametrize("name", [n for n in CURVES if n != "relu"])
def test_the_curvature_is_the_largest_second_derivative(name):
    curve, function = CURVES[name]
    z = torch.linspace(-6, 6, 120_001, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(function(z).sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z)
    assert second.abs().max() <= curve.curvature * (1 + 1e-12)
    assert second.abs().max() >= curve.curvature * (1 - 1e-6)


def test_a_wave_knows_its_crests_far_from_zero():
    low = torch.tensor([math.pi / 2 - 1e-9 + 200 * math.pi, 0.1], dtype=torch.float64)
    least, most = curves.SINE.range(low, low + torch.tensor([1e-6, 7.0], dtype=torch.float64))
    assert most.tolist() == [1.0, 1.0]
    assert least[1] == -1.0
