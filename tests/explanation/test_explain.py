"""The parts of an explanation on functions whose values are known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from holomorph.calculus import Ball
from holomorph.contract.classifier import Classifier
from holomorph.errors import ConfigError, DataError, ModelError
from holomorph.explanation.boundary import boundary, curvatures, tangent_share
from holomorph.explanation.energies import energies, top_tenth
from holomorph.explanation.explain import EXPLANATION_PARTS, explain
from holomorph.explanation.harmonicity import harmonicity, weak_residual
from holomorph.explanation.validation import survivors, validate_margins
from holomorph.records.explanation import ExplanationRecord
from holomorph.threats import ThreatModel
from rogues import Stopping


def _points(count=60, n=4, seed=0, dtype=torch.float64):
    x = torch.rand(count, n, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return x, torch.arange(count) % 2


class _Field(nn.Module):
    """Two logits from a function of the first two coordinates."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        value = self.function(x[:, 0] - 0.5, x[:, 1] - 0.5)
        return torch.stack([value, -value], 1)


HARMONIC = _Field(lambda a, b: a**3 - 3 * a * b**2 + a * b)
BUMP = _Field(lambda a, b: -(a**2 + b**2))


def test_harmonic_polynomials_have_no_gap_and_no_violations():
    x, y = _points()
    found = harmonicity(HARMONIC, x, y, ThreatModel(2, 0.3), directions=300)
    exact = harmonicity(BUMP, x, y, ThreatModel(2, 0.3), directions=300)
    assert max(g.value for g in found.mean_value_gap) < 0.05  # 300 pairs: noise of about 4 % of the second order
    assert found.maximum_violations == found.minimum_violations == 0
    assert found.laplacian_residual.value < 0.1
    # -(a^2 + b^2): gap r^2 lap / 2n with lap = -4, n = 4 at every point, slope sqrt(D / n), D = 2 * 4 E(a^2 + b^2)
    slope = math.sqrt(float((x[:, :2] - 0.5).square().sum(1).mean()) * 4 / 4)
    for r, gap in zip(exact.radii, exact.mean_value_gap, strict=True):
        assert gap.value == pytest.approx(r**2 * 4 / 8 / (r * slope), rel=0.05)
    assert exact.laplacian_residual.value == pytest.approx(exact.mean_value_gap[-1].value, rel=0.05)


@pytest.mark.parametrize("norm", ["inf", "1"])
def test_the_spheres_are_those_of_the_threats_noise(norm):
    x, y = _points(n=40)
    threat = ThreatModel(norm, 0.3, box=(-1, 2))
    draws = torch.Generator().manual_seed(0)
    noise = Ball(threat).draw(x[:1].expand(4000, 40), draws) - x[:1]
    found = harmonicity(HARMONIC, x, y, threat, directions=1, tests=1)
    assert found.radii[-1] == pytest.approx(float(noise.square().sum(1).mean().sqrt()), rel=0.03)


def test_peaks_are_counted_and_only_where_they_stand():
    """|x|^2 in 2-D: a minimum of the first logit, a maximum of the second, seen from within the radius 0.3 only."""
    near = torch.tensor([[0.5, 0.5], [0.52, 0.5]] * 6, dtype=torch.float64)
    far = torch.tensor([[0.9, 0.9], [0.1, 0.2]] * 6, dtype=torch.float64)
    y = torch.arange(12) % 2
    for x, share in ((near, 0.5), (far, 0.0)):
        found = harmonicity(BUMP, x, y, ThreatModel(2, 0.3), directions=8)
        assert found.maximum_violations == share
        assert found.minimum_violations == share


def test_a_minimiser_of_risk_plus_energy_is_weakly_harmonic():
    """A linear model trained to the minimum, tested with its own gradient: the residual falls far below 1."""
    x, _ = _points(400, 2, seed=1)
    y = (x[:, 0] > 0.5).long()
    basis = torch.cat([x, (6 * x).sin(), (6 * x).cos(), (12 * x).sin(), (12 * x).cos()], 1)
    assert basis.shape[1] == 10

    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(10, 2).double()

        def forward(self, x):
            return self.linear(torch.cat([x, (6 * x).sin(), (6 * x).cos(), (12 * x).sin(), (12 * x).cos()], 1))

    torch.manual_seed(0)
    model = Waves()
    before, _ = weak_residual(model, x, y, ThreatModel(2, 1e-3))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=150, line_search_fn="strong_wolfe")

    def objective():
        optimizer.zero_grad()
        leaf = x.clone().requires_grad_()
        h = model(leaf)
        rows = [torch.autograd.grad(h[:, k].sum(), leaf, create_graph=True)[0] for k in range(2)]
        value = nn.functional.cross_entropy(h, y) + 0.005 * torch.stack(rows).square().sum((0, 2)).mean()
        value.backward()
        return value

    optimizer.step(objective)
    after, weight = weak_residual(model, x, y, ThreatModel(2, 1e-3))
    assert after < 0.5 < before
    assert weight == pytest.approx(0.01, rel=0.3)  # (lambda / 2) D with lambda / 2 = 0.005


def test_spike_index_of_a_plateau_and_of_a_linear_model():
    x, y = _points(seed=2)
    knots = x.clone()

    class Plateaus(nn.Module):
        """Flat within 0.01 of each sample's first coordinate, steep elsewhere."""

        def forward(self, z):
            gap = (z[:, :1] - knots[None, :, 0]).abs().amin(1)
            value = 10 * (gap - 0.01).clamp_min(0)
            return torch.stack([value, -value], 1)

    found = energies(Plateaus(), x, y, ThreatModel("inf", 0.1))
    assert found.places[0].energy.value == 0
    assert found.places[1].energy.value > 0.1
    constant = energies(nn.Linear(4, 2).double(), x, y, ThreatModel("inf", 1e-6))
    assert constant.spike_index.value == pytest.approx(1, abs=1e-4)


def test_energy_map_belongs_to_its_coordinates():
    model = nn.Linear(4, 2, bias=False).double()
    model.weight.data = torch.tensor([[1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]]).double()
    x, y = _points(seed=3)
    found = energies(model, x, y, ThreatModel("inf", 0.1))
    p = model(x).softmax(1).detach()
    weight = (2 * (p[:, 0] * p[:, 1]).square()).mean()
    assert np.allclose(found.map, [weight, 0, 0, 4 * weight])
    assert found.top_pixels == pytest.approx(0.8)
    assert top_tenth(np.array([9.0, 1.0])) == 0.9


def test_curvatures_of_an_ellipse_and_a_plane():
    axes = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)

    def ellipsoid(x):
        square = (x / axes).square().sum(1)
        return torch.stack([torch.ones_like(square), square], 1)

    point, y = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    _, largest, normal = curvatures(ellipsoid, point, y, torch.Generator().manual_seed(0))
    assert normal.tolist() == [[-1.0, 0.0, 0.0]]
    assert float(largest) == pytest.approx(1 / 4, rel=1e-3)  # a / b^2 = 1/4 and a / c^2 = 1/16
    draws = [curvatures(ellipsoid, point, y, torch.Generator().manual_seed(k))[0] for k in range(40)]
    assert float(torch.stack(draws).mean()) == pytest.approx((1 / 4 + 1 / 16) / 2, rel=0.1)
    flat = curvatures(nn.Linear(3, 2).double(), point, y, torch.Generator().manual_seed(0))
    assert float(flat[0].abs()) < 1e-12
    assert float(flat[1].abs()) < 1e-12


def test_normals_across_and_along_a_manifold():
    """Samples in a plane of 5-D: a normal in the plane has share 1, one off it 0, a random one 2/5."""
    generator = torch.Generator().manual_seed(4)
    pool = torch.zeros(50, 5, dtype=torch.float64)
    pool[:, :2] = torch.rand(50, 2, generator=generator, dtype=torch.float64)
    share = tangent_share(torch.eye(5, dtype=torch.float64), pool[:5], pool, 2)
    assert torch.allclose(share, torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0], dtype=torch.float64))
    random = torch.randn(4000, 5, generator=generator, dtype=torch.float64)
    random = random / random.norm(dim=1, keepdim=True)
    assert tangent_share(random, pool[:1].expand(4000, 5), pool, 2).mean() == pytest.approx(0.4, abs=0.02)


def test_a_sample_is_no_neighbour_of_itself_in_single_precision():
    """60 images on a plane of 3 dimensions: a normal that leaves the plane has no share in it."""
    g = torch.Generator().manual_seed(0)
    plane = torch.linalg.qr(torch.randn(784, 3, generator=g)).Q
    pool = 0.5 + torch.randn(60, 3, generator=g) @ plane.T
    leaves = torch.eye(784)[:1] - plane[:1] @ plane.T
    share = tangent_share((leaves / leaves.norm()).expand(60, 784), pool, pool, 3)
    assert share.max() < 1e-3


def test_neighbours_on_a_line_span_a_line():
    """Two neighbours, one direction: the other columns of their differences' basis are rounding, and span nothing."""
    pool = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)
    normals = torch.tensor([[1.0, 2.0, 2.0], [2.0, -2.0, 1.0], [2.0, 1.0, -2.0]], dtype=torch.float64) / 3
    share = tangent_share(normals, pool[3:6], pool, 2)
    assert torch.allclose(share, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))


def test_boundary_of_a_circle():
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 0.5 + 0.25
    centre = torch.tensor([0.5, 0.5], dtype=torch.float64)

    def disc(z):
        square = (z - centre).square().sum(1)
        return torch.stack([torch.full_like(square, 0.4**2), square], 1)

    found = boundary(disc, x, torch.zeros(40, dtype=torch.long), ThreatModel(2, 0.1), neighbours=2)
    assert found.points == 40
    assert found.mean_curvature.value == pytest.approx(1 / 0.4, rel=1e-2)
    assert found.distance.value == pytest.approx(float((0.4 - (x - centre).norm(dim=1)).median()), rel=0.05)
    assert found.tangent_share.value == pytest.approx(1)


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_margins_of_a_linear_model_foretell_the_attacks(norm):
    x, _ = _points(40, 4, seed=6, dtype=torch.float32)
    model = nn.Linear(4, 3)
    model.weight.data = torch.randn(3, 4, generator=torch.Generator().manual_seed(7))
    model.bias.data = -model.weight.data.sum(1) / 2
    y = model(x).argmax(1)
    found = validate_margins(Classifier(model), x, y, ThreatModel(norm, 0.1), steps=60)
    for agreement in found.agreements:
        assert agreement.spearman.value > 0.98
        assert agreement.relative_error.value < 0.05
    assert all(a <= f * 1.001 for a, f in zip(found.first_order, found.found, strict=True))  # the exact distance
    curves = zip(found.analytic_accuracy, found.attacked_accuracy, strict=True)
    assert all(exact <= attacked + 1e-9 for exact, attacked in curves)
    assert found.attacked_accuracy[0] == 1


def test_survivors_counts_ties_as_broken():
    assert survivors(np.array([0.0, 0.1, 0.2, np.inf]), np.array([0.0, 0.1, 0.3])).tolist() == [0.75, 0.5, 0.25]


def _small():
    torch.manual_seed(0)
    x, _ = _points(30, 3, seed=8, dtype=torch.float32)
    first = nn.Linear(3, 2)
    first.weight.data = torch.tensor([[-4.0, 0.5, 0.0], [4.0, 0.0, 0.5]])
    first.bias.data = torch.tensor([2.0, -2.0])
    return nn.Sequential(first, nn.Tanh()), x, (x[:, 0] > 0.5).long()


@pytest.mark.slow
def test_a_stopped_explanation_goes_on(tmp_path, monkeypatch):
    model, x, y = _small()
    threat, out = ThreatModel("inf", 0.1), tmp_path
    whole = explain(model, x, y, threat=threat, steps=30, out=out)
    halfway = whole.model_copy(update={"boundary": None, "harmonicity": None})
    halfway.save(out / "explanation.json")
    monkeypatch.setattr("holomorph.explanation.explain.validate_margins", lambda *a, **k: pytest.fail("measured twice"))
    with pytest.raises(ConfigError, match=r"explanation\.json exists"):
        explain(model, x, y, threat=threat, steps=30, out=out)
    again = explain(model, x, y, threat=threat, steps=30, out=out, resume=True)
    assert again.margins == whole.margins
    assert again.boundary == whole.boundary
    assert again.harmonicity == whole.harmonicity
    assert ExplanationRecord.load(out / "explanation.json") == again
    monkeypatch.undo()
    model[0].weight.data += 1  # another model: nothing of the file may be used
    with pytest.raises(ConfigError, match="explains another model"):
        explain(model, x, y, threat=threat, steps=30, out=out, resume=True)
    assert explain(model, x, y, threat=threat, steps=30, out=out, force=True).margins != whole.margins


def _never_right():
    model = nn.Linear(3, 3)
    model.bias.data = torch.tensor([99.0, 0.0, 0.0])
    return model


def test_what_is_refused_and_what_is_left_alone():
    model, x, y = _small()
    threat = ThreatModel("inf", 0.1)
    with pytest.raises(DataError, match="12 samples"):
        explain(model, x[:5], y[:5], threat=threat)
    with pytest.raises(DataError, match="outside the box"):
        explain(model, x + 3, y, threat=threat)
    with pytest.raises(ModelError, match="batch, classes"):
        explain(nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (2, 2))), x, y, threat=threat)
    with pytest.raises(DataError, match="classified correctly"):
        explain(_never_right(), x, y + 1, threat=threat, steps=2)
    with pytest.raises(DataError, match="The labels run from"):
        explain(model, x, y + 5, threat=threat)
    with pytest.raises(DataError, match="next to nothing"):
        explain(_never_right(), x, torch.tensor([1] + [0] * 29), threat=threat, steps=2)
    with pytest.raises(ConfigError, match="batch_size is -1; it must be at least 1"):
        explain(model, x, y, threat=threat, batch_size=-1)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("part", EXPLANATION_PARTS)
def test_a_part_is_measured_alone_repeatably_and_without_traces(part: str) -> None:
    x = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    model, y, before = nn.Linear(3, 2, bias=False), (x[:, 0] < x[:, 1]).long(), x.clone()
    nn.init.eye_(model.weight)
    first, again = (explain(model, x, y, threat=ThreatModel("inf", 0.1), steps=5, only=[part]) for _ in range(2))
    assert {name for name in EXPLANATION_PARTS if getattr(first, name) is not None} == {part}
    clocks = {"margins": {"agreements"}}.get(part, set())
    assert getattr(first, part).model_dump(exclude=clocks) == getattr(again, part).model_dump(exclude=clocks)
    assert torch.equal(x, before)
    assert model.weight.grad is None
    assert type(first).model_validate_json(first.model_dump_json()) == first


def test_an_unknown_part_is_refused() -> None:
    x, y, model = torch.rand(20, 3), torch.arange(20) % 2, nn.Linear(3, 2)
    with pytest.raises(ConfigError, match="Did you mean 'energies'"):
        explain(model, x, y, threat=ThreatModel("inf", 0.1), only=["energie"])


@pytest.mark.parametrize("precisions", [(torch.float64, torch.float32), (torch.float32, torch.float64)])
def test_samples_take_the_precision_of_the_model(precisions) -> None:
    x = torch.rand(20, 3, generator=torch.Generator().manual_seed(0), dtype=precisions[0])
    model, y = nn.Linear(3, 2, bias=False, dtype=precisions[1]), (x[:, 0] < x[:, 1]).int()
    nn.init.eye_(model.weight)
    assert explain(model, x, y, threat=ThreatModel("inf", 0.1), steps=5, reference=x).clean == 1


def test_margins_that_were_stopped_go_on_within_the_attacks(tmp_path):
    """Three batches: the attacks on the first are not run again, and the record is that of a run without a stop."""
    x, _ = _points(30, 4, seed=6, dtype=torch.float32)
    torch.manual_seed(0)
    model = Stopping(4, 3)
    y = model(x).argmax(1)

    def run(out):
        model.calls = 0
        return explain(model, x, y, threat=ThreatModel(2, 0.1), steps=10, batch_size=10, only=["margins"], out=out,
                       resume=True)  # fmt: skip

    whole = run(tmp_path / "whole")
    needed, model.limit = model.calls, model.calls // 2
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "e")
    assert [file.suffix for file in (tmp_path / "e" / "explanation.parts").iterdir()][:1] == [".npz"]
    model.limit = 10**9
    resumed = run(tmp_path / "e")
    assert model.calls < needed
    assert resumed.margins.found == whole.margins.found
    assert resumed.margins.thorough == whole.margins.thorough
    assert not (tmp_path / "e" / "explanation.parts").exists()
