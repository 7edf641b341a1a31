"""Smoothing: exact on half spaces, where the bound is attained; abstention, confidence, interrupted work."""

import pytest
import torch
from scipy.stats import norm
from torch import nn

from holomorph._utils.output import Output
from holomorph.certification import Smoothed, certify
from holomorph.errors import ConfigError
from holomorph.threats import ThreatModel

BOX = (-5.0, 5.0)


def half_space(distance):
    """A linear classifier whose boundary lies at a distance from the origin of the plane."""
    layer = nn.Linear(2, 2).double()
    layer.weight.data = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    layer.bias.data = torch.tensor([5.0 * distance, 0.0], dtype=torch.float64)
    return layer


@pytest.mark.parametrize("distance", [0.2, 0.5, 0.9])
def test_the_radius_of_a_half_space_is_its_distance_from_below(distance):
    """A sound radius exceeds the distance with probability .001 a sample: 3 of them fail once in 300 seeds."""
    smoothed = Smoothed(half_space(distance), sigma=0.5, draws=40_000, seed=3)
    prediction, radius = smoothed.certify(torch.zeros(1, 2, dtype=torch.float64))
    assert int(prediction) == 0
    assert distance - 0.05 < float(radius) <= distance


def test_radii_are_wrong_no_more_often_than_stated():
    """At failure .2, sixty radii of one half space are too large 12 times on average, above 22 with chance 1e-3."""
    smoothed = Smoothed(half_space(0.4), sigma=0.5, draws=200, failure=0.2, seed=1)
    _, radii = smoothed.certify(torch.zeros(60, 2, dtype=torch.float64))
    assert int((radii > 0.4).sum()) <= 22


def test_on_the_boundary_it_abstains():
    record = certify(half_space(0.0), torch.zeros(4, 2, dtype=torch.float64), torch.zeros(4, dtype=torch.long),
                     threat=ThreatModel(2, 0.1, BOX), method="smoothing", draws=500)  # fmt: skip
    assert record.smoothing.abstained >= 3  # each is answered with chance .001
    assert record.predictions.count(-1) == record.smoothing.abstained


def test_all_draws_alike_give_the_largest_radius_there_is():
    smoothed = Smoothed(half_space(100.0), sigma=1.0, draws=1000, failure=0.001)
    _, radius = smoothed.certify(torch.zeros(1, 2, dtype=torch.float64))
    assert float(radius) == pytest.approx(norm.ppf(0.001 ** (1 / 1000)), rel=1e-6)  # p^1000 = failure


def test_other_norms_get_the_part_of_the_ball_that_holds_theirs():
    x, y = torch.zeros(3, 2, dtype=torch.float64), torch.zeros(3, dtype=torch.long)
    threats = [ThreatModel("2", 0.5, BOX), ThreatModel(1, 0.5, BOX), ThreatModel("inf", 0.5, BOX)]
    record = certify(half_space(1.0), x, y, threat=threats, method="smoothing", draws=1000, sigma=0.5)
    euclidean, ones, largest = (t.radii[0] for t in record.threats)
    assert ones == euclidean
    assert largest == pytest.approx(euclidean / 2**0.5, rel=1e-8)
    assert record.smoothing.sigma == 0.5


def test_counts_are_kept_and_do_not_hang_on_the_other_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(Output, "clear_work", lambda _: None)  # as if it had been stopped just before the end
    x = torch.tensor([[0.0, 0.0], [0.1, 0.1], [0.0, 0.2]], dtype=torch.float64)
    y, model, threat = torch.zeros(3, dtype=torch.long), half_space(0.5), ThreatModel(2, 0.3, BOX)
    settings = {"method": "smoothing", "draws": 300}
    first = certify(model, x, y, threat=threat, out=tmp_path, **settings)
    next((tmp_path / "certificate.parts").iterdir()).unlink()
    assert certify(model, x, y, threat=threat, out=tmp_path, resume=True, **settings).threats == first.threats
    assert certify(model, x[:2], y[:2], threat=threat, **settings).threats[0].radii == first.threats[0].radii[:2]


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="sigma is 0"):
        Smoothed(half_space(1), sigma=0.0)
    with pytest.raises(ConfigError, match="failure is 1"):
        Smoothed(half_space(1), sigma=0.5, failure=1.0)
    with pytest.raises(ConfigError, match="draws is 0"):
        Smoothed(half_space(1), sigma=0.5, draws=0)
