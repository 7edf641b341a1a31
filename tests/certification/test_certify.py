"""``certify``: closed forms on linear networks, records, refusals, interrupted work."""

import math

import pytest
import torch
from torch import nn

import holomorph as hm
from holomorph._utils.output import Output
from holomorph.certification import certify
from holomorph.errors import ConfigError, DataError, ModelError
from holomorph.exact.classifier import ExactClassifier
from holomorph.exact.fock import FockKernel
from holomorph.nn.embedding import Complexification
from holomorph.records.reading import read
from holomorph.threats import ThreatModel

D = torch.float64
WIDE = (-50.0, 50.0)


def linear(outputs=3, seed=0):
    torch.manual_seed(seed)
    return nn.Linear(5, outputs).double()


def distances(model, x, y, p):
    """The distance of each sample to the nearest boundary of a linear classifier."""
    logits, weight = model(x).detach(), model.weight.detach()
    dual = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[p]
    far = torch.full_like(logits, math.inf)
    for j in range(logits.shape[1]):
        length = torch.linalg.vector_norm(weight[y] - weight[j], ord=dual, dim=1)
        far[:, j] = torch.where(y == j, math.inf, (logits.gather(1, y[:, None])[:, 0] - logits[:, j]) / length)
    return far.amin(1)


@pytest.mark.parametrize("method", ["auto", "slopes", "lines", "branching"])
@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_radii_of_a_linear_classifier_are_its_distances_up_to_the_bisection(norm, method):
    model, x = linear(), torch.randn(30, 5, dtype=D, generator=torch.Generator().manual_seed(1))
    x = x[:10] if method == "branching" else x
    y = model(x).argmax(1)
    y[:3] = (y[:3] + 1) % 3
    threat = ThreatModel(norm, 1.0, WIDE)
    record = certify(model, x, y, threat=threat, method=method, steps=8)
    exact = distances(model, x, y, threat.p).clamp(0, 2)
    radii = torch.tensor(record.threats[0].radii, dtype=D)
    assert (radii <= exact * (1 + 1e-12)).all()
    assert (radii >= exact - 0.75 / 2**6 - 1e-6).all()  # between a quarter of eps and eps six radii are left
    assert radii[:3].eq(0).all()
    assert record.clean == 1 - 3 / len(x)
    assert record.threats[0].proved == float((exact > 1).double().mean())
    assert record.threats[0].accuracy(0.5) == pytest.approx(float((radii >= 0.5).double().mean()))


def test_intervals_alone_prove_less():
    model, x = linear(), torch.randn(30, 5, dtype=D, generator=torch.Generator().manual_seed(1))
    y, threat = model(x).argmax(1), ThreatModel("inf", 0.3, WIDE)
    shares = {m: certify(model, x, y, threat=threat, method=m).threats[0].proved for m in ("intervals", "lines")}
    assert 0 < shares["intervals"] < shares["lines"] < 1


def test_one_output_stands_for_two_classes():
    model, x = linear(1), torch.randn(20, 5, dtype=D, generator=torch.Generator().manual_seed(1))
    y = (model(x)[:, 0] > 0).long()
    record = certify(model, x, y, threat=ThreatModel(2, 1.0, WIDE), steps=8)
    exact = (model(x)[:, 0].abs() / model.weight.norm()).detach().clamp(max=2)
    radii = torch.tensor(record.threats[0].radii, dtype=D)
    assert ((radii <= exact) & (radii >= exact - 2 / 2**8 - 1e-6)).all()
    assert record.classes == 2


def test_exact_classifiers_keep_their_own_certificate():
    x, y = torch.randn(40, 2, dtype=D, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    x[y == 1] += 2

    codes = torch.eye(2, dtype=D)
    model = ExactClassifier(FockKernel(weight=0.1, ridge=1e-2).fit(x, codes[y]), Complexification(), codes)
    record = certify(model, x, y, threat=ThreatModel(2, 0.1, WIDE))
    right = model(x).argmax(1) == y
    assert torch.allclose(torch.tensor(record.threats[0].radii, dtype=D), model.certified_radius(x) * right)
    assert set(record.threats[0].proved_by) <= {"exact", None}
    with pytest.raises(ConfigError, match=r"Linear has no exact certificate\. Use method='auto'"):
        certify(linear(), torch.zeros(2, 5, dtype=D), torch.tensor([0, 1]), threat=ThreatModel(2, 0.1), method="exact")


def test_the_record_goes_through_its_file_and_the_model_is_left_as_it_was(tmp_path):
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 3))
    model[3].eval()
    x, y = torch.rand(12, 5), torch.arange(12) % 3
    before = {key: value.clone() for key, value in model.state_dict().items()}
    threats = [ThreatModel("inf", "1/100"), ThreatModel(2, 0.05)]
    record = hm.certify(model, x, y, threat=threats, model_name="small", data_name="noise")
    assert [m.training for m in model] == [True, True, True, False, True]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert read(record.save(tmp_path / "certificate.json")) == record
    assert (record.model, record.data, record.precision, record.method) == ("small", "noise", "float32", "auto")
    assert [t.threat for t in record.threats] == threats
    low, high = record.threats[0].interval.low, record.threats[0].interval.high
    assert low <= record.threats[0].proved <= high


def test_finished_batches_are_not_proved_again(tmp_path, monkeypatch):
    monkeypatch.setattr(Output, "clear_work", lambda _: None)  # as if it had been stopped just before the end
    model, x = linear(), torch.randn(30, 5, dtype=D, generator=torch.Generator().manual_seed(1))
    y, threat = model(x).argmax(1), ThreatModel("inf", "1/4", WIDE)
    first = certify(model, x, y, threat=threat, batch_size=10, out=tmp_path)
    kept = sorted((tmp_path / "certificate.parts").iterdir())
    assert len(kept) == 3
    kept[0].unlink()
    stamps = [path.stat().st_mtime_ns for path in kept[1:]]
    again = certify(model, x, y, threat=threat, batch_size=10, out=tmp_path, resume=True)
    assert again.threats == first.threats
    assert [path.stat().st_mtime_ns for path in kept[1:]] == stamps
    model.bias.data += 1.0
    other = certify(model, x, y, threat=threat, batch_size=10, out=tmp_path, resume=True)
    assert other.threats == certify(model, x, y, threat=threat, batch_size=10).threats


def test_rounding_keeps_what_a_large_offset_makes_uncertain_unproved():
    """Two logits near 2^24 that differ by one: an ulp of either decides, whatever the threat."""
    model = nn.Linear(2, 2)
    model.weight.data.fill_(2.0**22)
    model.bias.data = torch.tensor([2.0**23 + 1.0, 2.0**23])
    x, y = torch.full((1, 2), 0.25), torch.tensor([0])
    assert int(model(x).argmax()) == 0
    assert certify(model, x, y, threat=ThreatModel("inf", 2e-3)).threats[0].radii == (0.0,)
    model.bias.data = torch.tensor([2.0**23 + 64.0, 2.0**23])
    assert certify(model, x, y, threat=ThreatModel("inf", 2e-3)).threats[0].proved == 1.0


class Doubled(nn.Linear):
    pass


def test_a_hook_that_changes_outputs_is_noticed():
    model = nn.Sequential(Doubled(5, 3))
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(ModelError, match="outputs are not those of its layers"):
        certify(model, torch.rand(4, 5), torch.tensor([0, 1, 2, 0]), threat=ThreatModel("inf", 0.1))


def test_a_network_that_is_another_one_meanwhile_or_elsewhere_is_noticed():
    class Later(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) if self.calls < 4 else -super().forward(x)

    with pytest.raises(ModelError, match="outputs are not those of its layers"):
        certify(Later(5, 3), torch.rand(4, 5), torch.tensor([0, 1, 2, 0]), threat=ThreatModel("inf", 0.1))


def test_time_is_kept_with_eps_first_and_what_attacks_broke_is_left_out():
    model, x = linear(), torch.randn(30, 5, dtype=D, generator=torch.Generator().manual_seed(1))
    y, threat = model(x).argmax(1), ThreatModel("inf", 0.3, WIDE)
    whole = certify(model, x, y, threat=threat)
    none = certify(model, x, y, threat=threat, seconds=0)
    assert (none.untried, none.everywhere, set(none.threats[0].proved_by)) == (30, 0.0, {None})
    assert certify(model, x, y, threat=threat, seconds=1e4, batch_size=7).threats == whole.threats
    assert whole.searched == ()
    far = certify(model, x, y, threat=ThreatModel("inf", 30.0, WIDE), seconds=1e4, batch_size=7, steps=12)
    assert (far.untried, far.everywhere, far.searched) == (0, 0.0, (True,) * 30)
    assert far.median_radius(far.threats[0]) > 0  # where eps is too large the largest radius is looked for at once
    broken = torch.arange(30) < 10
    part = certify(model, x, y, threat=threat, broken=broken)
    assert part.threats[0].radii == (0.0,) * 10 + whole.threats[0].radii[10:]
    assert (part.untried, whole.untried) == (0, 0)


def test_what_cannot_be_used_is_refused_in_words():
    model, x, y, threat = linear(), torch.rand(4, 5, dtype=D), torch.tensor([0, 1, 2, 0]), ThreatModel("inf", 0.1)
    with pytest.raises(ConfigError, match=r"Unknown method 'line'\. Did you mean 'lines'"):
        certify(model, x, y, threat=threat, method="line")
    with pytest.raises(ConfigError, match="There is no threat"):
        certify(model, x, y, threat=[])
    with pytest.raises(DataError, match="outside the box"):
        certify(model, x + 2, y, threat=threat)
    with pytest.raises(DataError, match="4 samples but 3 labels"):
        certify(model, x, y[:3], threat=threat)
    with pytest.raises(DataError, match=r"must lie in 0\.\.2"):
        certify(model, x, torch.tensor([0, 1, 2, 3]), threat=threat)
    with pytest.raises(ConfigError, match="steps is 0"):
        certify(model, x, y, threat=threat, steps=0)
    with pytest.raises(ConfigError, match=r"float32 or float64, not torch\.bfloat16"):
        certify(nn.Linear(5, 3).bfloat16(), x, y, threat=threat)
    with pytest.raises(ModelError, match=r"layer 1 \(Softmax\) cannot be bounded"):
        certify(nn.Sequential(nn.Linear(5, 5), nn.Softmax(1)).double(), x, y, threat=threat)


def test_many_activations_are_bounded_by_intervals_alone(monkeypatch):
    """The cheap plan is sound and proves less than the tight one."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3)).double()
    x = torch.rand(20, 5, dtype=D)
    y, threat = model(x).argmax(1), ThreatModel("inf", 0.3)
    tight = certify(model, x, y, threat=threat).threats[0]
    monkeypatch.setattr("holomorph.certification.bounds.TIGHT", 10)
    cheap = certify(model, x, y, threat=threat).threats[0]
    assert all(a <= b for a, b in zip(cheap.radii, tight.radii, strict=True))
    assert sum(cheap.radii) < sum(tight.radii)


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_features_have_an_eps_and_walls_of_their_own(norm):
    """On a linear classifier: what moves a rising, a free and a frozen feature can take from the margin, in units."""
    from holomorph.threats.features import Features

    model = nn.Linear(3, 2).double()
    model.weight.data = torch.tensor([[1.0, -2.0, 5.0], [0.0, 0.0, 0.0]], dtype=D)
    model.bias.data.zero_()
    eps, wide = torch.tensor([0.5, 2.0, 0.0], dtype=D), torch.full((3,), 50.0, dtype=D)
    features = Features(eps, -wide, wide, direction=torch.tensor([1, 0, 0]))
    x = torch.tensor([[1.0, -2.0, 0.5], [0.5, -1.0, 0.1]], dtype=D)
    y = torch.zeros(2, dtype=torch.long)
    record = certify(model, x, y, threat=ThreatModel(norm, 1, features.hull), features=features, steps=10)
    margin = model(x)[:, 0].detach()
    exact = margin / 4  # the first feature may only rise, which helps; the second takes 2 * 2 a unit
    radii = torch.tensor(record.threats[0].radii, dtype=D)
    assert (radii <= exact.clamp(max=2) * (1 + 1e-9)).all()
    assert (radii >= exact.clamp(max=2) - 2 / 2**10 - 1e-6).all()
    assert record.features == features.record()
    with pytest.raises(ConfigError, match="knows one eps for all features"):
        certify(model, x, y, threat=ThreatModel(norm, 1, features.hull), features=features, method="smoothing")
