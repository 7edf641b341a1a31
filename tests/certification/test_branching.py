"""Branch and bound: more is proved than at one go, and nothing that is false."""

import torch
from torch import nn

from holomorph.certification import certify
from holomorph.certification.branching import Branching
from holomorph.enclosures import Program, Region
from holomorph.threats import ThreatModel


def bump():
    """Class 1 in a ring of radius about .5 around the origin, by a wide network fitted in closed form."""
    torch.manual_seed(0)
    hidden = nn.Linear(2, 64).double()
    hidden.weight.data *= 6
    x = torch.rand(4000, 2, dtype=torch.float64) * 4 - 2
    features = torch.tanh(hidden(x)).detach()
    target = (x.norm(dim=1) - 0.5)[:, None]
    last = nn.Linear(64, 2).double()
    solution = torch.linalg.lstsq(torch.cat([features, torch.ones(4000, 1, dtype=torch.float64)], 1), target).solution
    last.weight.data = torch.stack([-solution[:-1, 0], solution[:-1, 0]])
    last.bias.data = torch.stack([-solution[-1, 0], solution[-1, 0]])
    return nn.Sequential(hidden, nn.Tanh(), last)


def test_parts_prove_what_the_whole_does_not():
    model, threat = bump(), ThreatModel(2, 0.4, (-2.0, 2.0))
    x = torch.zeros(1, 2, dtype=torch.float64)
    y = model(x).argmax(1)
    whole = certify(model, x, y, threat=threat, method="lines").threats[0].radii[0]
    parts = certify(model, x, y, threat=threat, method="branching", steps=7)
    assert whole < 0.3 < parts.threats[0].radii[0]
    assert parts.threats[0].proved_by[0] == "branching"
    angles = torch.linspace(0, 6.2832, 5000, dtype=torch.float64)
    rim = 0.999 * parts.threats[0].radii[0] * torch.stack([angles.cos(), angles.sin()], 1)
    assert (model(rim).argmax(1) == y).all()


def test_a_wrong_point_inside_ends_the_search_at_once():
    model = bump()
    x = torch.zeros(1, 2, dtype=torch.float64)
    region = Region.around(x, ThreatModel(2, 1.5, (-2.0, 2.0)), torch.tensor([1.5]))
    assert not bool(Branching(Program.trace(model), 2.0**-53).prove(region, model(x).argmax(1)))


def test_a_budget_of_parts_is_kept():
    model, x = bump(), torch.zeros(1, 2, dtype=torch.float64)
    region = Region.around(x, ThreatModel(2, 0.45, (-2.0, 2.0)), torch.tensor([0.3]))
    y = model(x).argmax(1)
    assert not bool(Branching(Program.trace(model), 2.0**-53, parts=1).prove(region, y))
