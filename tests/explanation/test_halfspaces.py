"""The smallest step into a half-space against linear programs, Kuhn-Tucker conditions and closed forms."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from holomorph.calculus.norms import norm
from holomorph.explanation.linear_margin import smallest_step
from holomorph.threats import ThreatModel


def _problem(seed=0, batch=12, n=7):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, n, generator=generator, dtype=torch.float64)
    x[:, 0], x[:, 1] = 0.0, 1.0  # coordinates that start on the box
    g = torch.randn(batch, n, generator=generator, dtype=torch.float64)
    g[:, 2] = 0.0
    most = (g.clamp_min(0) * (1 - x) - g.clamp_max(0) * x).sum(1)
    gain = most * torch.rand(batch, generator=generator, dtype=torch.float64)
    return g, x, gain, most


def _by_linear_program(g, x, gain, norm_name):
    """The oracle: variables are the step and its norm (l_inf), or its two parts (l_1)."""
    n = len(g)
    if norm_name == "inf":
        cost = np.r_[np.zeros(n), 1.0]
        above = np.block([[np.eye(n), -np.ones((n, 1))], [-np.eye(n), -np.ones((n, 1))], [-g[None], np.zeros((1, 1))]])
        bounds = [(-a, 1 - a) for a in x] + [(0, None)]
        right = np.r_[np.zeros(2 * n), -gain]
    else:
        cost, above = np.ones(2 * n), np.r_[-g, g][None]
        bounds = [(0, 1 - a) for a in x] + [(0, a) for a in x]
        right = np.array([-gain])
    return linprog(cost, A_ub=above, b_ub=right, bounds=bounds).fun


@pytest.mark.parametrize("name", ["inf", "1"])
def test_it_is_the_solution_of_the_linear_program(name):
    g, x, gain, _ = _problem()
    threat = ThreatModel(name, 0.1)
    step = smallest_step(g, gain, x, threat)
    oracle = [_by_linear_program(*(t.numpy() for t in row), name) for row in zip(g, x, gain, strict=True)]
    assert step.reaches.all()
    assert torch.allclose(norm(step.delta, threat.p), torch.tensor(oracle, dtype=torch.float64), atol=1e-8)


@pytest.mark.parametrize("name", ["inf", "2", "1"])
def test_the_step_reaches_exactly_the_gain_and_stays_in_the_box(name):
    g, x, gain, _ = _problem(1)
    delta = smallest_step(g, gain, x, ThreatModel(name, 0.1)).delta
    assert torch.allclose((g * delta).sum(1), gain)
    assert (x + delta).min() >= -1e-12
    assert (x + delta).max() <= 1 + 1e-12


def test_l2_satisfies_the_kuhn_tucker_conditions():
    """Free coordinates step by one multiple of their gradient; those that the box holds back would step further."""
    g, x, gain, _ = _problem(2)
    delta = smallest_step(g, gain, x, ThreatModel(2, 0.1)).delta
    for i in range(len(g)):
        free = ((x + delta)[i] > 1e-9) & ((x + delta)[i] < 1 - 1e-9) & (g[i] != 0)
        ratio = delta[i, free] / g[i, free]
        assert torch.allclose(ratio, ratio[:1].expand_as(ratio))
        assert (delta[i].abs() <= ratio[0] * g[i].abs() + 1e-12).all()


@pytest.mark.parametrize("name", ["inf", "2", "1"])
def test_a_gain_out_of_reach_is_reported_with_the_largest_step(name):
    g, x, _, most = _problem(3)
    step = smallest_step(g, most + 0.1, x, ThreatModel(name, 0.1))
    assert not step.reaches.any()
    assert torch.allclose((g * step.delta).sum(1), most)


@pytest.mark.parametrize("name", ["inf", "2", "1"])
def test_no_gain_needs_no_step_and_no_slope_reaches_nothing(name):
    x = torch.full((2, 3), 0.5)
    g = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    step = smallest_step(g, torch.tensor([0.0, 1.0]), x, ThreatModel(name, 0.1))
    assert torch.equal(step.delta, torch.zeros_like(x))
    assert step.reaches.tolist() == [True, False]
