"""The finite energy: what holding its near end means, and that one backward pass at the near end suffices."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_cases import THREATS, batch, network
from torch import nn
from torch.nn.functional import cross_entropy

from holomorph.calculus.measures import Ball, Samples
from holomorph.calculus.norms import norm
from holomorph.errors import ConfigError, NotDifferentiableError
from holomorph.nn.classifiers import Sine
from holomorph.rules import NFGSM, FiniteEnergy
from holomorph.rules.ascent import direction
from holomorph.rules.gradients import spend
from holomorph.rules.passes import Passes
from holomorph.rules.sampling import inclusion, systematic
from holomorph.types import ThreatModel

SETTINGS = {"weight": 0.7, "linear": 0.9, "squared": 1.3, "measure": Samples(), "clip": False, "segments": 1}


def gradients(model, loss):
    return torch.autograd.grad(loss, list(model.parameters()))


def written_out(model, threat, x, y, held):
    """The definition with one graph for everything."""
    passes = Passes(model)
    points = x.clone().requires_grad_()
    here = cross_entropy(passes.first(points), y, reduction="none")
    (g,) = torch.autograd.grad(here.sum(), points, retain_graph=True)
    there = cross_entropy(passes.again(x + threat.radius * direction(g, x, threat)), y, reduction="none")
    near = here.detach() if held else here
    energy = SETTINGS["linear"] * (there - here) + SETTINGS["squared"] * (there - near).clamp_min(0).square()
    return (here + SETTINGS["weight"] * energy).mean()


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("held", [True, False])
def test_gradients_are_those_of_the_definition(threat, held):
    model, (x, y) = network(), batch()
    state = torch.get_rng_state()  # dropout must draw the same masks twice
    found = FiniteEnergy(threat, held=held, **SETTINGS)(model, x, y)
    mine = gradients(model, found)
    torch.set_rng_state(state)
    expected = written_out(model, threat, x, y, held)
    torch.testing.assert_close(found.detach(), expected.detach())
    torch.testing.assert_close(mine, gradients(model, expected))


class TwoEnds(nn.Module):
    """Its logit is a at 0 and b at eps, so that each end of the step has a parameter of its own."""

    def __init__(self, eps):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(-1.0))
        self.eps = eps

    def forward(self, x):
        s = self.a + (self.b - self.a) * x / self.eps
        return torch.cat([s, torch.zeros_like(s)], 1)


@pytest.mark.parametrize("held", [True, False])
def test_only_a_free_near_end_is_pushed_up(held):
    model, x, y = TwoEnds(0.1), torch.zeros(1, 1), torch.tensor([0])
    rule = FiniteEnergy(ThreatModel("inf", 0.1), held=held, weight=0.5, squared=3.0, segments=1, measure=Samples())
    near, far = gradients(model, rule(model, x, y))
    here, there = (cross_entropy(model(torch.full((1, 1), end)), y).detach() for end in (0.0, 0.1))
    risk_slope = -torch.sigmoid(torch.tensor(-2.0))
    share = 1 - 0.5 - (0.0 if held else 0.5 * 3.0 * 2 * (there - here))
    torch.testing.assert_close(near, share * risk_slope)
    assert (near < 0) == held  # a step against the gradient lowers the risk at the near end, or raises it
    assert far < 0


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_a_share_of_the_far_ends_stands_for_all(threat):
    """The mean gradient of 600 draws is the whole batch's: within 4.5 standard errors, one false alarm in 3,000."""
    model, (x, y) = network(norm=False), batch(16)
    common = {"squared": 1.0, "measure": Samples(), "segments": 1}
    whole = torch.cat([g.flatten() for g in gradients(model, FiniteEnergy(threat, share=1.0, **common)(model, x, y))])
    part = FiniteEnergy(threat, share=0.3, **common)
    draws = torch.stack([torch.cat([g.flatten() for g in gradients(model, part(model, x, y))]) for _ in range(600)])
    error = draws.std(0) / math.sqrt(600)
    assert bool(((draws.mean(0) - whole).abs() <= 4.5 * error + 1e-12).all())
    assert bool((error > 0).any())


def test_the_share_counts_forward_passes():
    model, (x, y), sizes = network(norm=False), batch(40), []
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    FiniteEnergy(THREATS[0], share=0.25)(model, x, y)
    assert sizes == [40, 10, 10]


@pytest.mark.parametrize(("coordinates", "scale"), [(4, 0.5), (16, 1.0), (784, 1.0)])
def test_the_noise_is_small_where_coordinates_are_few(coordinates, scale):
    threat, seen = ThreatModel("inf", 0.1, box=(-1, 1)), []
    model = nn.Linear(coordinates, 2)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    FiniteEnergy(threat)(model, torch.zeros(200, coordinates), torch.zeros(200, dtype=torch.long))
    assert 0.95 * scale * 0.1 < float(seen[0].abs().max()) <= scale * 0.1


def test_a_loss_that_cancels_costs_no_gradients_of_parameters():
    """With w b = 1 the near end is differentiated by its points only; the gradients are those of the whole formula."""
    model, (x, y) = network(norm=False), batch(40)
    found, expected = (FiniteEnergy(THREATS[0], weight=w, ramp=0.0) for w in (1.0, 1 - 1e-12))
    torch.testing.assert_close(gradients(model, found(model, x, y)), gradients(model, expected(model, x, y)))
    assert (found.cost.passes, expected.cost.passes) == (6.0, pytest.approx(7.0))


def test_dropout_needs_the_whole_batch():
    model, (x, y), sizes = network(), batch(40), []
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    FiniteEnergy(THREATS[0], share=0.25, segments=1)(model, x, y)
    assert sizes == [40, 40]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"share": 0}, r"share is 0; give the part of each batch to visit, in \(0, 1\]\."),
        ({"kept": 1.5}, r"kept is 1.5; give a share in \[0, 1\]\."),
        ({"late": -0.1}, r"late is -0.1; give a share in \[0, 1\]\."),
        ({"segments": 0}, r"segments is 0; it must be at least 1\."),
        ({"weight": -1}, r"weight is -1; it must not be negative\."),
    ],
)
def test_settings_outside_their_range(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        FiniteEnergy(THREATS[0], **settings)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_one_segment_with_all_the_noise_is_nfgsm(threat):
    model, (x, y) = network(norm=False).eval(), batch(16)
    common = {"kept": 1.0, "segments": 1, "squared": 0.0, "measure": Ball(threat, scale=1.5)}
    found = FiniteEnergy(threat, **common)(model, x, y)
    expected = NFGSM(threat, noise=1.5)(model, x, y)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(model, found), gradients(model, expected))


class Recorder(nn.Module):
    """A linear network that remembers where it was asked."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(5, 3).double(), []

    def forward(self, x):
        self.seen.append(x.detach())
        return self.layer(x)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_the_path_is_one_step_early_and_goes_on_late(threat):
    """On a network with three classes a single worst step ends on the sphere; the path stays inside the threat."""
    x, y = torch.full((6, 5), 0.5, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    for progress, points in ((0.5, 2), (0.8, 4)):
        model, rule = Recorder(), FiniteEnergy(threat, kept=0.0, segments=3, late=0.3)
        rule.progress = progress
        rule(model, x, y)
        assert len(model.seen) == points
        near, end = model.seen[0], model.seen[-1]
        assert bool((norm(end - x, threat.p) <= threat.radius * (1 + 1e-9)).all())
        assert not torch.equal(near, x)
        if progress == 0.5:
            risk = cross_entropy(model.layer(near.requires_grad_()), y, reduction="none")
            (g,) = torch.autograd.grad(risk.sum(), near)
            torch.testing.assert_close(end, (x + threat.radius * direction(g, near, threat)).clamp(*threat.box))


def test_a_longer_path_climbs_higher():
    """On a curved network, far ends of four segments have the greater loss in the mean."""
    threat, (x, y) = ThreatModel("inf", 0.5, box=(-3, 3)), batch(64)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(x.shape[1], 16), Sine(), nn.Linear(16, 3)).double()
    with torch.no_grad():
        model[0].weight *= 4
    ends = {}
    for segments in (1, 4):
        rule = FiniteEnergy(threat, squared=0.0, kept=0.0, segments=segments)
        ends[segments] = float(rule(model, x.double(), y).detach())
    assert ends[4] > ends[1]


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=40), share=st.floats(0.05, 1.0), seed=st.integers(0, 99)
)
def test_systematic_samples_have_their_size_and_probabilities(scores, share, seed):
    score = torch.tensor(scores, dtype=torch.float64)
    pi = inclusion(score, share)
    assert bool((pi <= 1).all())
    assert bool((pi > 0).all())
    below = pi < 1 - 1e-9
    ratio = pi[below] / score[below]
    assert len(ratio) == 0 or bool((ratio - ratio.mean()).abs().max() <= 1e-9 * ratio.max())
    seen = systematic(pi, torch.Generator().manual_seed(seed))
    assert abs(len(seen) - float(pi.sum())) < 1 + 1e-9
    assert bool(torch.isin((pi >= 1).nonzero()[:, 0], seen).all())


def test_systematic_sampling_meets_its_probabilities():
    """4,000 draws: each frequency within 4.5 standard errors, one false alarm in 20,000."""
    pi, generator = torch.tensor([0.1, 0.9, 0.35, 0.65, 1.0], dtype=torch.float64), torch.Generator().manual_seed(0)
    hits = torch.zeros(5, dtype=torch.float64)
    for _ in range(4000):
        hits[systematic(pi, generator)] += 1
    assert bool(((hits / 4000 - pi).abs() <= 4.5 * (pi * (1 - pi) / 4000).sqrt() + 1e-12).all())


def test_spending_hands_out_what_is_known():
    model, (x, y) = network(norm=False), batch()
    points = x.clone().requires_grad_()
    gradient, mean = spend(cross_entropy(model(points), y, reduction="none"), points, model.parameters())
    expected = x.clone().requires_grad_()
    loss = cross_entropy(model(expected), y, reduction="none")
    torch.testing.assert_close(gradient, torch.autograd.grad(loss.sum(), expected, retain_graph=True)[0])
    torch.testing.assert_close(gradients(model, 3 * mean), gradients(model, 3 * loss.mean()))


def test_frozen_parameters_are_left_out():
    model, (x, y) = network(norm=False), batch()
    model[0].requires_grad_(False)
    FiniteEnergy(THREATS[0])(model, x, y).backward()
    assert model[0].weight.grad is None
    assert model[2].weight.grad is not None


@pytest.mark.parametrize("cut", [lambda z: z.detach(), lambda z: z.detach().requires_grad_()])
def test_a_network_cut_off_from_its_input(cut):
    class Cut(nn.Module):
        def forward(self, x):
            return cut(x).sum(1, keepdim=True) * torch.ones(3)

    with pytest.raises(NotDifferentiableError, match=r"does not depend differentiably.*detach"):
        FiniteEnergy(ThreatModel("inf", 0.1))(Cut(), torch.rand(4, 2), torch.tensor([0, 1, 2, 0]))
