"""The Comparison part: a row a rule, best first, and the differences that the intervals leave open."""

import pytest

import hand_made as cases
from holomorph.reporting.parts import comparison
from holomorph.reporting.render import render


@pytest.fixture
def record():
    return cases.comparison()


def test_the_best_comes_first_and_open_differences_are_named(record):
    view = comparison.comparison_part([record])
    assert [rule.text for rule in view["rules"]] == ["nfgsm", "dirichlet", "plain"]
    assert "nfgsm keeps most: 71" in view["sentence"]
    assert view["sentence"].endswith("do not tell it from dirichlet.")
    clear = record.model_copy(update={"differences": record.differences[:2]})
    assert "do not tell" not in comparison.comparison_part([clear])["sentence"]


def test_the_page_shows_the_table_and_two_plots(record):
    page = render([record])
    assert 'id="comparison"' in page
    assert "<title>3 learning rules compared: mlp on digits" in page
    assert page.count("data:image/svg+xml") == 2
    assert page.index(">nfgsm</th>") < page.index(">plain</th>")


def test_no_rules_are_no_part(record):
    assert comparison.comparison_part([record.model_copy(update={"rules": ()})]) is None
    assert comparison.comparison_part([]) is None
