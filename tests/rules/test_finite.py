"""The finite energy: what holding its near end means, and that one backward pass at the near end suffices."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holomorph.calculus.ascent import direction
from holomorph.calculus.measures import Ball, Samples
from holomorph.calculus.norms import norm
from holomorph.errors import ConfigError, NotDifferentiableError
from holomorph.nn.classifiers import Sine
from holomorph.rules import NFGSM, FiniteEnergy, Plain
from holomorph.rules.passes import Passes
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into
from rule_cases import THREATS, batch, network, stored


def gradients(model, loss):
    return torch.autograd.grad(loss, list(model.parameters()))


def written_out(model, threat, x, y, observable):
    """The definition with one graph for everything."""
    passes = Passes(model)
    points = x.clone().requires_grad_()
    near = passes.first(points)
    here = cross_entropy(near, y, reduction="none")
    (g,) = torch.autograd.grad(here.sum(), points, retain_graph=True)
    far = passes.again(x + threat.radius * direction(g, x, threat))
    rise = cross_entropy(far, y, reduction="none") - here
    if observable == "logits":
        change = far - near
        rise = ((near.softmax(1) - nn.functional.one_hot(y, 3)) * change + change.square() / 4).sum(1)
    return (here + 0.7 * rise).mean()


@pytest.mark.parametrize("observable", ["loss", "logits"])
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_gradients_are_those_of_the_definition(threat, observable):
    model, (x, y) = network(), batch()
    state = torch.get_rng_state()  # dropout must draw the same masks twice
    settings = {"weight": 0.7, "measure": Samples(), "clip": False, "segments": 1}
    found = FiniteEnergy(threat, observable=observable, **settings)(model, x, y)
    mine = gradients(model, found)
    torch.set_rng_state(state)
    expected = written_out(model, threat, x, y, observable)
    torch.testing.assert_close(found.detach(), expected.detach())
    torch.testing.assert_close(mine, gradients(model, expected))


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_the_energy_of_the_logits_bounds_the_loss(threat):
    """From above at every weight, and by no more than it should where the logits hardly change."""
    model, (x, y) = network(norm=False), batch(64)
    common = {"segments": 1, "measure": Samples()}
    loss, bound = (FiniteEnergy(threat, observable=o, **common)(model, x, y).detach() for o in ("loss", "logits"))
    assert loss < bound < loss + 0.5


def test_the_linearity_is_one_for_a_straight_loss_and_falls_where_it_bends():
    """The rise of the loss over the step, as a part of what the gradient promised."""

    class Kinked(nn.Module):
        """Its risk rises with slope 1 up to half the radius, and not beyond."""

        def __init__(self, top):
            super().__init__()
            self.top, self.shift = top, nn.Parameter(torch.zeros(()))

        def forward(self, x):
            lost = 50 + x.clamp(max=self.top) + self.shift
            return torch.cat([-lost, torch.zeros_like(x)], 1).double()

    x, y = torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4, dtype=torch.long)
    for top, expected in ((1.0, 1.0), (0.05, 0.5)):
        rule = FiniteEnergy(ThreatModel("inf", 0.1, box=(-1, 1)), segments=1, measure=Samples())
        rule(Kinked(top), x, y)
        assert float(rule.measured["linearity"]) == pytest.approx(expected, abs=1e-4)


def at(rule, progress):
    """Return the rule at a part of training."""
    rule.progress = progress
    return rule


class Shift(nn.Module):
    """Adds what it is given to the logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, z):
        return z + self.logits


@pytest.mark.parametrize(
    ("p", "coordinates", "scale", "kept"),
    [
        ("inf", 4, 0.5, 0.5),
        ("inf", 16, 1.0, 0.5),
        ("inf", 784, 1.0, 0.5),
        (2, 64, 2.0, 0.5),
        (2, 784, 3.0, 1 / 3),
        (1, 784, 4.0, 0.25),
    ],
)
def test_the_noise_is_small_where_coordinates_are_few(p, coordinates, scale, kept):
    """The near end is drawn at the scale, and the step starts where the kept part of it ends."""
    threat, seen = ThreatModel(p, 0.1, box=(-1, 1)), []
    model = nn.Linear(coordinates, 2)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    FiniteEnergy(threat, segments=1)(model, torch.zeros(200, coordinates), torch.zeros(200, dtype=torch.long))
    near, far = seen
    assert 0.95 * scale * 0.1 < float(norm(near, threat.p).max()) <= scale * 0.1 * (1 + 1e-5)
    step = norm(far - kept * near, threat.p)
    torch.testing.assert_close(step, torch.full_like(step, 0.1))


def test_a_loss_that_cancels_costs_no_gradients_of_parameters():
    """With w = 1 the near end is differentiated by its points only; the gradients are those of the whole formula."""
    model, (x, y) = network(norm=False), batch(40)
    found, expected = (FiniteEnergy(THREATS[0], weight=w, ramp=0.0) for w in (1.0, 1 - 1e-12))
    torch.testing.assert_close(gradients(model, found(model, x, y)), gradients(model, expected(model, x, y)))
    assert (found.cost.passes, expected.cost.passes) == (6.0, 8.0)


def test_directions_see_no_masks_and_leave_no_statistics():
    """The path, also of a part of the batch, is that of the network in evaluation mode."""
    threat, (x, y) = THREATS[0], batch(40)
    for followed in (1.0, 0.5):
        ends = []
        for mode in (True, False):
            model, seen = network().train(mode), []
            rule = FiniteEnergy(threat, segments=3, late=1.0, followed=followed)
            model.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0].detach()))
            rule(model, x, y)
            assert int(model[1].num_batches_tracked) == int(mode)
            ends.append(seen[-1])
        assert torch.equal(*ends)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"kept": 1.5}, r"kept is 1.5; give a share in \[0, 1\]\."),
        ({"late": -0.1}, r"late is -0.1; give a share in \[0, 1\]\."),
        ({"ramp": 2}, r"ramp is 2; give a share in \[0, 1\]\."),
        ({"followed": 0}, r"followed is 0; give a share in \(0, 1\]\."),
        ({"observable": "margin"}, r"Unknown observable of the rule 'finite' 'margin'"),
        ({"segments": 0}, r"segments is 0; it must be at least 1\."),
        ({"weight": -1}, r"weight is -1; it must not be negative\."),
    ],
)
def test_settings_outside_their_range(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        FiniteEnergy(THREATS[0], **settings)


@pytest.mark.parametrize("late", [0.0, 1.0])
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_the_radius_grows_from_nothing(threat, late):
    """With a network that does not follow: every point is within the noise and the step of then."""
    model, (x, y) = network(norm=False).eval(), batch()
    seen = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    rule = FiniteEnergy(threat, late=late, ramp=0.5)
    torch.testing.assert_close(at(rule, 0.0)(model, x, y), Plain()(model, x, y), rtol=1e-4, atol=1e-5)
    for progress, share in ((0.0, 1e-6), (0.125, 0.25), (0.5, 1.0)):
        seen.clear()
        at(rule, progress)(model, x, y)
        reach = torch.stack([norm(z - x, threat.p) for z in seen[1:]]).max() / threat.radius
        assert 0.5 * share < reach <= 2 * share * (1 + 1e-6)


def test_where_the_network_follows_the_radius_is_whole_at_once():
    """One that is sure of the correct prediction gets a tenth of a ramp of a half, one that is not, all of it."""
    x, y = torch.full((4, 5), 0.5), torch.tensor([0, 1, 2, 0])
    for bias, share in ((9.0, 1.0), (0.0, 0.1)):
        model, seen = nn.Linear(5, 3), []
        nn.init.zeros_(model.weight)
        model.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0].detach()))
        rule = FiniteEnergy(ThreatModel("inf", 0.1), ramp=0.5, segments=1, kept=0.0)
        answers = bias * nn.functional.one_hot(y, 3)
        labelled = nn.Sequential(model, Shift(answers))
        for progress in (0.0, 0.05):
            at(rule, progress)(labelled, x, y)
        noise = float((seen[-2] - x).abs().max()) / (5**0.5 / 4)  # in five coordinates so many radii are drawn
        assert 0.7 * share * 0.1 < noise <= share * 0.1 * (1 + 1e-6)


def test_the_radius_of_now_is_kept_in_a_checkpoint():
    model, (x, y) = network(norm=False).eval(), batch()
    first, second = FiniteEnergy(THREATS[0], ramp=0.5), FiniteEnergy(THREATS[0], ramp=0.5)
    first.pace.now, first.pace.at, first.pace.follows = 0.2, 0.01, True
    second.load_state_dict(stored(first))
    assert torch.equal(at(first, 0.02)(model, x, y), at(second, 0.02)(model, x, y))
    assert first.pace == second.pace
    assert first.pace.at == 0.02


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_one_segment_with_all_the_noise_is_nfgsm(threat):
    model, (x, y) = network(norm=False).eval(), batch(16)
    common = {"kept": 1.0, "segments": 1, "measure": Ball(threat, scale=1.5)}
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


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_only_undecided_samples_are_followed(threat):
    """Six samples the first segment of which leaves the label .99, .9, .5, .6, .1 and .001: the third and fourth."""
    x, y = torch.rand(6, 5, dtype=torch.float64), torch.zeros(6, dtype=torch.long)
    model, rule = Recorder(), FiniteEnergy(threat, segments=4, late=1.0, followed=1 / 3, measure=Samples())
    weight = torch.zeros(3, 5, dtype=torch.float64)
    weight[0] = torch.linspace(0.01, 0.02, 5)
    model.layer.weight.data, model.layer.bias.data = weight, torch.zeros(3, dtype=torch.float64)
    p = torch.tensor([0.99, 0.9, 0.5, 0.6, 0.1, 0.001], dtype=torch.float64)
    shifts = torch.stack([(2 * p / (1 - p)).log(), 0 * p, 0 * p], 1)  # the weights move p by a hundredth at most
    model.forward = lambda z: Recorder.forward(model, z) + (shifts if len(z) == 6 else shifts[2:4])
    at(rule, 0.5)(model, x, y)
    near, *further, end = model.seen
    assert [len(points) for points in further] == [2, 2, 2]
    moved = norm(end - near, threat.p) > 0.75 * threat.radius * (1 + 1e-9)
    assert set(moved.nonzero()[:, 0].tolist()) <= {2, 3}
    assert all(bool((z - x[2:4]).flatten(1).abs().amax() <= threat.radius * (1 + 1e-9)) for z in further)


def test_following_nearly_all_is_following_all():
    model, (x, y) = network(norm=False), batch(8)
    found, expected = (
        gradients(model, FiniteEnergy(THREATS[0], segments=3, late=1.0, followed=share)(model, x, y))
        for share in (0.999, 1.0)
    )
    torch.testing.assert_close(found, expected)
    assert FiniteEnergy(THREATS[0], segments=5, late=1.0, followed=1 / 3).cost.passes == pytest.approx(23 / 3)


def test_strengthening_lengthens_the_path_at_once():
    x, y = torch.full((6, 5), 0.5, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    first, resumed = FiniteEnergy(THREATS[0]), FiniteEnergy(THREATS[0])
    first.strengthen()
    resumed.load_state_dict(stored(first))
    for rule in (first, resumed):
        model = Recorder()
        at(rule, 0.1)(model, x, y)
        assert (rule.segments, rule.late, len(model.seen)) == (4, 1.0, 5)


@pytest.mark.parametrize(
    ("p", "scale", "share"), [("inf", None, 1.0), (2, None, 0.0), (1, None, 0.25), (2, 1.0, 0.0), ("inf", 2.0, 0.5)]
)
def test_the_path_begins_with_at_most_a_radius_of_noise(p, scale, share):
    threat, seen = ThreatModel(p, 0.5, box=(-9, 9)), []
    model = nn.Linear(784, 3).double()
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    x, y = torch.zeros(5, 784, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    rule = FiniteEnergy(threat, late=1.0, measure=None if scale is None else Ball(threat, scale))
    rule.progress = 0.5
    rule(model, x, y)
    near, first, _ = seen
    point = near.clone().requires_grad_()
    (g,) = torch.autograd.grad(cross_entropy(nn.functional.linear(point, model.weight, model.bias), y), point)
    expected = into(x, share * near + 0.75 * threat.radius * direction(g, near, threat), threat)
    torch.testing.assert_close(first, expected)


@pytest.mark.parametrize(
    ("threat", "segments", "late", "passes"),
    [
        (ThreatModel("inf", 0.15), 2, 0.5, 6.0),
        (ThreatModel("inf", 0.16), 3, 1.0, 9.0),
        (ThreatModel("inf", 0.16, box=(-1, 1)), 2, 0.5, 6.0),
        (ThreatModel(2, 1.5), 2, 0.5, 6.0),
    ],
)
def test_a_large_radius_asks_for_a_longer_path(threat, segments, late, passes):
    rule = FiniteEnergy(threat)
    assert (rule.segments, rule.late, rule.cost.passes) == (segments, late, passes)
    kept = FiniteEnergy(threat, segments=1, late=0.3)
    assert (kept.segments, kept.late) == (1, 0.3)


class Bump(nn.Module):
    """The risk of class 0 is greatest at 0.4: every step of more than that goes past it and turns round."""

    def forward(self, x):
        return torch.cat([(x - 0.4).abs(), torch.zeros_like(x)], 1)


def test_the_last_steps_shrink():
    """Five steps of 0.75, 0.75, 0.75, 0.6 and 0.3 radii, forth and back."""
    threat, seen = ThreatModel("inf", 1.0, box=(-9, 9)), []
    model = Bump()
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    rule = FiniteEnergy(threat, segments=5, late=1.0, measure=Samples())
    rule(model, torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0]))
    torch.testing.assert_close(torch.cat(seen)[:, 0], torch.tensor([0, 0.75, 0, 0.75, 0.15, 0.45]).double())


def test_a_longer_path_climbs_higher():
    """On a curved network, far ends of four segments have the greater loss in the mean."""
    threat, (x, y) = ThreatModel("inf", 0.5, box=(-3, 3)), batch(64)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(x.shape[1], 16), Sine(), nn.Linear(16, 3)).double()
    with torch.no_grad():
        model[0].weight *= 4
    ends = {}
    for segments in (1, 4):
        rule = FiniteEnergy(threat, kept=0.0, segments=segments)
        ends[segments] = float(rule(model, x.double(), y).detach())
    assert ends[4] > ends[1]


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
