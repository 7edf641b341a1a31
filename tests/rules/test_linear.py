"""Closed forms: on a linear network every rule is a formula of the margin and of norms of the weights."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, logsigmoid, softplus

from holomorph import rules
from holomorph.calculus import jacobian
from holomorph.calculus.measures import Samples
from holomorph.calculus.norms import dual_direction, norm
from holomorph.errors import ConfigError
from holomorph.explanation.harmonicity import weak_residual
from holomorph.threats import ThreatModel

WIDE = (-10.0, 10.0)
THREATS = [ThreatModel("inf", 0.3, WIDE), ThreatModel(2, 0.3, WIDE), ThreatModel(1, 0.3, WIDE)]
every_threat = pytest.mark.parametrize("threat", THREATS, ids=str)


@pytest.fixture
def case():
    """Return model, x, y, the margins and the gradients of the margins: all signs and sizes of margins occur."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(5, 2).double()
    model.weight.data = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    x = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 2, (12,), generator=generator)
    logits = model(x).detach()
    rows = torch.arange(12)
    w = model.weight.detach()
    return model, x, y, logits[rows, y] - logits[rows, 1 - y], w[y] - w[1 - y]


def risk(margin):
    """With two classes the cross-entropy is a function of the margin."""
    return softplus(-margin)


@every_threat
def test_attacks_lower_the_margin_by_eps_times_the_dual_norm(case, threat):
    model, x, y, m, w = case
    expected = risk(m - threat.radius * norm(w, threat.q)).mean()
    attacked = [
        rules.NFGSM(threat, noise=0.0),
        rules.GradAlign(threat),  # gradients of one sample are parallel everywhere: the penalty is 0
        rules.PGD(threat, steps=20, random_start=False),
        rules.AWP(threat, steps=20, random_start=False, gamma=0.0),
        rules.FiniteEnergy(threat, weight=1.0, measure=Samples()),
    ]
    for rule in attacked:
        assert torch.isclose(rule(model, x, y), expected), rule.name
    started = rules.PGD(threat, steps=20, restarts=3)(model, x, y)
    # from inside the l_2 ball the ascent nears the far point along the sphere; the others reach a corner
    assert torch.isclose(started, expected, rtol=1e-2 if threat.norm == "2" else 1e-9)
    free = rules.FreeAT(threat)
    assert torch.isclose(free(model, x, y), risk(m).mean())
    free(model, x, y).backward()
    assert torch.isclose(free(model, x, y), expected)


@every_threat
def test_awp_is_pgd_at_the_worst_weights(case, threat):
    model, x, y, _, _ = case
    attack = rules.PGD(threat, random_start=False)
    moved = attack.perturbed(model, x, y)
    (g,) = torch.autograd.grad(cross_entropy(model(moved), y), model.weight)
    changed = model.weight + 0.01 * g / g.norm() * model.weight.norm()
    expected = cross_entropy(moved @ changed.T + model.bias, y)
    found = rules.AWP(threat, random_start=False, gamma=0.01)(model, x, y)
    assert torch.isclose(found, expected)
    assert found > attack(model, x, y)


@every_threat
def test_trades_finds_the_worse_of_the_two_sides(case, threat):
    model, x, y, m, w = case
    gain = threat.radius * norm(w, threat.q)

    def kl(a, b):
        p = a.sigmoid()
        return p * (logsigmoid(a) - logsigmoid(b)) + (1 - p) * (logsigmoid(-a) - logsigmoid(-b))

    sides = torch.stack([kl(m, m - gain), kl(m, m + gain)])
    rule = rules.TRADES(threat, beta=2.0, steps=20)
    found = rules.trades.divergence(model(x), model(rule.perturbed(model, x)))
    # the noise at the start chooses the side; along the l_2 sphere the ascent nears the end without reaching it
    assert torch.isclose(found, sides, rtol=1e-2 if threat.norm == "2" else 1e-6).any(0).all()
    again = rules.TRADES(threat, beta=2.0, steps=20)
    assert torch.isclose(again(model, x, y), risk(m).mean() + 2 * found.mean())


@every_threat
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("estimator", ["double-backward", "finite-difference"])
def test_dirichlet(case, threat, power, estimator):
    model, x, y, m, w = case
    gain = threat.radius * norm(w, threat.q)
    settings = {"weight": 1.5, "power": power, "estimator": estimator, "measure": Samples()}
    margin = rules.Dirichlet(threat, observable="margin", **settings)(model, x, y)
    assert torch.isclose(margin, (risk(m) + 1.5 * gain**power).mean())
    loss = rules.Dirichlet(threat, observable="loss", **settings)(model, x, y)
    slope = gain * (-m).sigmoid() if estimator == "double-backward" else risk(m - gain) - risk(m)
    assert torch.isclose(loss, (risk(m) + 1.5 * slope**power).mean())


def test_dirichlet_of_the_logits_is_the_frobenius_norm(case):
    model, x, y, m, _ = case
    threat = THREATS[1]
    expected = risk(m).mean() + threat.radius**2 * model.weight.square().sum()
    assert torch.isclose(
        rules.Dirichlet(threat, observable="logits", estimator="double-backward", measure=Samples())(model, x, y),
        expected,
    )
    projected = rules.Dirichlet(threat, observable="logits", estimator="random-projection", measure=Samples())
    draws = torch.stack([projected(model, x, y).detach() for _ in range(400)])
    assert abs(draws.mean() - expected) < 5 * draws.std() / math.sqrt(400)  # one false alarm in 10^6


def test_random_projections_serve_squares_only():
    """E|J^T v| is up to 20 % below |J|, where E|J^T v|^2 is |J|^2: the root is refused, as the l_1 norm is."""
    with pytest.raises(ConfigError, match=r"not its root\. Use power=2"):
        rules.Dirichlet(THREATS[1], observable="logits", estimator="random-projection", power=1)
    with pytest.raises(ConfigError, match="is not the l_1 norm"):
        rules.Dirichlet(ThreatModel("inf", 0.1), observable="logits", estimator="random-projection")


@every_threat
def test_finite_energy(case, threat):
    model, x, y, m, w = case
    rise = risk(m - threat.radius * norm(w, threat.q)) - risk(m)
    rule = rules.FiniteEnergy(threat, weight=0.7, measure=Samples())
    assert torch.isclose(rule(model, x, y), (risk(m) + 0.7 * rise).mean())


@every_threat
def test_harmonic_sees_no_curvature_in_a_linear_margin(case, threat):
    model, x, y, m, w = case
    gain = threat.radius * norm(w, threat.q)
    rule = rules.Harmonic(threat, weight=2.0, curvature=1e6, observable="margin", measure=Samples())
    assert torch.isclose(rule(model, x, y), (risk(m) + 2 * gain**2).mean())


@every_threat
def test_hardy_is_the_square_of_the_change_along_v(case, threat):
    model, x, y, m, w = case
    v = -threat.radius * dual_direction(w, threat.p)
    expected = risk(m).mean() + (v @ model.weight.T).square().sum(1).mean()
    assert torch.isclose(rules.Hardy(threat, measure=Samples())(model, x, y), expected)
    # corners: E (w.v)^2 = eps^2 n^(-2/p) |w|^2 for each output
    rule = rules.Hardy(threat, along="random", measure=Samples())
    draws = torch.stack([rule(model, x, y).detach() for _ in range(400)])
    scale = threat.radius**2 * 5 ** (-2 / threat.p)
    expected = risk(m).mean() + scale * model.weight.square().sum()
    assert abs(draws.mean() - expected) < 5 * draws.std() / math.sqrt(400)


def test_jacobian_penalty(case):
    model, x, y, m, _ = case
    rule = rules.JacobianPenalty(THREATS[1], weight=0.5, projections=2)
    draws = torch.stack([rule(model, x, y).detach() for _ in range(400)])
    expected = risk(m).mean() + 0.25 * model.weight.square().sum()
    assert abs(draws.mean() - expected) < 5 * draws.std() / math.sqrt(400)


def test_noise_adds_half_the_laplacian(case):
    model, x, y, m, w = case
    rule, sigma = rules.GaussianNoise(THREATS[1], sigma=0.05), 0.05
    draws = torch.stack([rule(model, x, y).detach() for _ in range(4000)])
    laplacian = m.sigmoid() * (-m).sigmoid() * norm(w, 2.0).square()
    expected = (risk(m) + sigma**2 / 2 * laplacian).mean()
    assert abs(draws.mean() - expected) < 5 * draws.std() / math.sqrt(4000) + 1e-5
    assert expected - risk(m).mean() > 1e-3  # the term is larger than what the test lets pass


def test_weakly_harmonic_against_dense_gradients():
    """Integration by parts on 20,000 points: the energy's part of each residual has an error of about 2 %."""
    threat, generator = ThreatModel("inf", 0.3, WIDE), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 2)).double()
    x = torch.randn(20_000, 3, dtype=torch.float64)
    y = (x[:, 0] > 0).long()
    rule = rules.WeaklyHarmonic(threat, weight=1.0, functions=10, strength=30.0, width=0.7)
    found = rule(model, x, y)
    z = (x + 0.3 / math.sqrt(3) * torch.randn(x.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    one, other, centre = torch.randint(len(x), (3, 10), generator=generator)
    source, dense = model(z).softmax(1) - nn.functional.one_hot(y, 2), jacobian(model, z)
    squares = []
    for a, c in zip(x[one] - x[other], centre, strict=True):
        heights = z @ a / a.norm()
        width = 0.7 * heights.detach().std(correction=0) + 0.3 / math.sqrt(3)
        psi = (-((heights - heights[c].detach()) / width).square() / 2).exp()
        (slope,) = torch.autograd.grad(psi.sum(), z)
        weak = (source * psi[:, None]).mean(0) + 30 * 0.09 * (dense @ slope[..., None]).mean(0).squeeze(1)
        squares.append(weak.square() / (0.09 * slope.square().sum(1).mean()))
    expected = torch.stack(squares).mean()
    assert torch.isclose(found, cross_entropy(model(z), y) + expected, rtol=0.05)
    assert expected > 0.2


def test_the_residual_falls_at_784_inputs():
    """Against plain training, by the diagnosis, which has other test functions and dense gradients."""
    g, threat = torch.Generator().manual_seed(0), ThreatModel("inf", 0.05, (-1, 1))
    y = torch.arange(512) % 2
    x = 0.1 * torch.randn(512, 784, generator=g) + 0.05 * (2 * y[:, None] - 1) * (torch.arange(784) < 100)
    left = {}
    for weight in (0.0, 20.0):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(784, 32), nn.GELU(), nn.Linear(32, 2))
        rule, optimiser = rules.WeaklyHarmonic(threat, weight=weight), torch.optim.Adam(model.parameters(), 3e-3)
        for step in range(80):
            rule.progress = step / 80
            rows = torch.randint(512, (128,), generator=g)
            optimiser.zero_grad()
            rule(model, x[rows], y[rows]).backward()
            optimiser.step()
        left[weight] = weak_residual(model, x[:200], y[:200], threat)[0]
        assert model(x).argmax(1).eq(y).all()
    assert rule.cost.passes <= 4 * rules.Plain().cost.passes
    assert left[20.0] < 0.6 < 0.8 < left[0.0]
