"""Intervals that hold whenever one stops, and evaluations that stop."""

import numpy as np
import pytest
import torch
from scipy.special import betaln

from holomorph.errors import ConfigError
from holomorph.evaluation.evaluate import evaluate
from holomorph.evaluation.sequential import Stopping, anytime_interval
from holomorph.threats import ThreatModel
from scenes import halves

THREAT = ThreatModel("inf", 0.1)


@pytest.mark.parametrize("p", [0.02, 0.3, 0.5, 0.95])
def test_the_true_share_leaves_the_interval_in_at_most_one_run_of_twenty(p: float) -> None:
    """1,000 runs of 2,000 samples, looked at after each: Ville allows 5 %; 5 % plus 4 standard errors is 7.8 %.

    False alarm below 1e-4 for all four shares together.
    """
    right = np.random.default_rng(0).random((1000, 2000)) < p
    k, n = right.cumsum(1), np.arange(1, 2001)
    martingale = betaln(1 + k, 1 + n - k) - k * np.log(p) - (n - k) * np.log1p(-p)
    assert (martingale.max(1) >= np.log(20)).mean() < 0.078


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 40), (999, 1000), (1, 1)])
def test_the_interval_is_where_the_martingale_is_small(k: int, n: int) -> None:
    interval = anytime_interval(k, n)

    def martingale(p: float) -> float:
        return float(betaln(1 + k, 1 + n - k) - k * np.log(p) - (n - k) * np.log1p(-p))

    assert interval.low <= k / n <= interval.high
    for end, inward in ((interval.low, 1e-6), (interval.high, -1e-6)):
        if 0 < end < 1:
            assert martingale(end) == pytest.approx(np.log(20), abs=1e-6)
            assert martingale(end + inward) < np.log(20)
    if k == 0:
        assert interval.low == 0.0
    if k == n:
        assert interval.high == 1.0


def test_no_samples_say_nothing() -> None:
    assert (anytime_interval(0, 0).low, anytime_interval(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"decide": 1.5}, "a share between 0 and 1"),
        ({"precision": 0.0}, "in points, between 0 and 50"),
        ({"decide": 0.5, "precision": 2.0}, "not both"),
    ],
)
def test_what_cannot_be_asked_is_refused(settings: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Stopping(**settings)


@pytest.mark.slow
def test_an_evaluation_stops_when_the_question_is_answered() -> None:
    x = torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) * 0.3 + torch.tensor([0.6, 0.0])
    y = torch.zeros(300, dtype=torch.long)
    record = evaluate(halves, x, y, THREAT, quick=True, decide=0.5, batch_size=16, checks=False)
    assert record.samples < 95
    assert record.robust == 1.0
    assert "above 50 %" in record.stopped
    assert record.robust_interval == anytime_interval(record.samples, record.samples)
    broken = evaluate(halves, x, 1 - y, THREAT, quick=True, decide=0.5, batch_size=16, checks=False)
    assert "below 50 %" in broken.stopped
    assert broken.robust == 0.0
