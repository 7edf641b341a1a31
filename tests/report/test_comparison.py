"""The Comparison part: a row a rule, best first, and the differences that the intervals leave open."""

import pytest

from holomorph.records.comparison import ComparisonRecord, Difference, RuleResult
from holomorph.report.parts import comparison
from holomorph.report.render import render
from holomorph.types import Interval, ThreatModel

THREAT = ThreatModel("inf", 0.1)


def _near(value, half=0.02):
    return Interval(value=value, low=value - half, high=value + half)


def _rule(text, clean, robust, cost):
    return RuleResult(
        text=text,
        settings={},
        cost=cost,
        seconds=cost,
        runs=(),
        figures={"clean": _near(clean), "inf:0.1": _near(robust)},
    )


@pytest.fixture
def record():
    return ComparisonRecord(
        data="digits", model="mlp", training={}, budget="6epochs", seeds=3, trained_for=THREAT, threats=(THREAT,),
        split="val", attack="pgd", samples=200,
        rules=(_rule("plain", 0.97, 0.4, 1), _rule("nfgsm", 0.96, 0.71, 2), _rule("dirichlet", 0.95, 0.7, 3)),
        differences=(
            Difference(first="plain", second="nfgsm", figure="inf:0.1", interval=_near(-0.31)),
            Difference(first="plain", second="dirichlet", figure="inf:0.1", interval=_near(-0.3)),
            Difference(first="nfgsm", second="dirichlet", figure="inf:0.1", interval=_near(0.01)),
        ),
    )  # fmt: skip


def test_the_best_comes_first_and_open_differences_are_named(record):
    view = comparison.build([record])
    assert [rule.text for rule in view["rules"]] == ["nfgsm", "dirichlet", "plain"]
    assert "nfgsm keeps most: 71" in view["sentence"]
    assert view["sentence"].endswith("do not tell it from dirichlet.")
    clear = record.model_copy(update={"differences": record.differences[:2]})
    assert "do not tell" not in comparison.build([clear])["sentence"]


def test_the_page_shows_the_table_and_two_plots(record):
    page = render([record])
    assert 'id="comparison"' in page
    assert "<title>comparison · mlp · digits" in page
    assert page.count("data:image/svg+xml") == 2
    assert page.index(">nfgsm</th>") < page.index(">plain</th>")


def test_no_rules_are_no_part(record):
    assert comparison.build([record.model_copy(update={"rules": ()})]) is None
    assert comparison.build([]) is None
