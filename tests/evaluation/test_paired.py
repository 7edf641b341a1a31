"""Curves, and two records on the same samples."""

import pytest
import torch

from holomorph.errors import DataError
from holomorph.evaluation.curves import accuracy_curve
from holomorph.evaluation.evaluate import evaluate
from holomorph.evaluation.paired import versus
from holomorph.threats import ThreatModel
from holomorph.threats.features import Features
from scenes import X, Y, halves


def test_the_curve_starts_at_clean_accuracy_and_falls() -> None:
    smallest = torch.tensor([0.0, 0.02, 0.1, torch.inf])
    curve = accuracy_curve(smallest, ThreatModel("inf", 0.1), ("fmn",))
    assert curve.accuracy[0] == 0.75
    assert list(curve.accuracy) == sorted(curve.accuracy, reverse=True)
    assert curve.accuracy[curve.eps.index(0.1)] == 0.25, "a perturbation of exactly eps counts"
    assert curve.eps[-1] == pytest.approx(0.125), "the last sample falls at 0.1"
    late = accuracy_curve(torch.tensor([0.3, 9.0]), ThreatModel("inf", 0.1), ("fmn",))
    assert late.eps[-1] == pytest.approx(0.4), "beyond four times eps nothing is drawn"


@pytest.mark.slow
def test_records_on_the_same_samples_are_paired() -> None:
    threats = [ThreatModel("inf", 0.05), ThreatModel("inf", 0.15)]
    better = evaluate(lambda x: halves(x.flip(1).flip(1)), X, Y, threats, quick=True, checks=False, baseline=halves)
    assert {gap.quantity for gap in better.differences} == {"clean", "inf:0.05", "inf:0.15", "union"}
    assert all(gap.interval.value == 0 and not gap.clear for gap in better.differences)
    worse = evaluate(lambda x: halves(x.flip(1)), X, Y, threats[0], quick=True, checks=False)
    gaps = {gap.quantity: gap.interval for gap in versus(better, worse, "the other")}
    assert list(gaps) == ["clean", "inf:0.05"], "the union is that of other threats"
    assert gaps["clean"].value == pytest.approx(0.8 - 0.2)
    assert gaps["clean"].low < gaps["clean"].value < gaps["clean"].high
    with pytest.raises(DataError, match="different samples"):
        versus(better, evaluate(halves, X[:4], Y[:4], threats, quick=True, checks=False))
    with pytest.raises(DataError, match="other boxes"):
        versus(better, evaluate(halves, X, Y, ThreatModel("inf", 0.05, (-1, 2)), quick=True, checks=False))
    with pytest.raises(DataError, match="no threat in common"):
        versus(better, evaluate(halves, X, Y, ThreatModel(2, 0.1), quick=True, checks=False))


def test_the_record_knows_the_names_of_the_classes() -> None:
    named = evaluate(halves, X, Y, ThreatModel("inf", 0.05), quick=True, checks=False, class_names=("low", "high"))
    assert [named.class_name(k) for k in (0, 1)] == ["low", "high"]
    assert evaluate(halves, X, Y, ThreatModel("inf", 0.05), quick=True, checks=False).class_name(1) == "1"


def test_records_in_other_units_are_not_paired() -> None:
    one, other = (
        evaluate(
            halves,
            X,
            Y,
            ThreatModel("inf", 1),
            quick=True,
            checks=False,
            features=Features(torch.full(X.shape[1:], eps), torch.zeros(X.shape[1:]), torch.ones(X.shape[1:])),
        )
        for eps in (0.05, 0.1)
    )
    assert all(gap.interval.value == 0 for gap in versus(one, one))
    with pytest.raises(DataError, match="other eps or ranges of the features"):
        versus(one, other)
