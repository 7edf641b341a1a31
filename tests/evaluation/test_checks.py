"""Every check of the registry: its place in the documentation, and evidence that lacks what it looks at."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from holomorph.contract.classifier import Classifier
from holomorph.evaluation.attacking import Task, attack_all
from holomorph.evaluation.checks import ALL, Checker, Evidence, run_checks
from holomorph.evaluation.results import Outcome
from holomorph.evaluation.runner import Runner
from holomorph.threats import ThreatModel

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"
X = torch.rand(24, 4, generator=torch.Generator().manual_seed(0))
RIGHT = (X[:, 0] > X[:, 1]).long()


def model(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x[:, 1], x[:, 0]], 1)


def outcome(y: torch.Tensor, *, differentiable: bool = True) -> Outcome:
    classifier = Classifier(model, differentiable=differentiable)
    return attack_all(Task(classifier, X, y, [ThreatModel("inf", 0.1)], Runner(), "quick"))


@pytest.fixture(scope="module")
def scenes() -> dict[str, Evidence]:
    whole = outcome(RIGHT)
    return {
        "all there": Evidence(whole, whole, 2.0),
        "no baseline, no cost": Evidence(whole, None, None),
        "no attacks": Evidence(replace(whole, attacks=[]), None, None),
        "no gradients": Evidence(outcome(RIGHT, differentiable=False), None, None),
        "nothing right": Evidence(outcome(1 - RIGHT), None, None),
    }


def test_numbers_and_names_are_those_of_the_page_and_stand_once() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", PAGE.read_text().partition("| # | check |")[2], re.MULTILINE)
    assert [(str(check.number), check.name) for check in ALL] == rows
    assert set(Counter(type(check) for check in ALL).values()) == {1}


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.name)
@pytest.mark.parametrize("scene", ["all there", "no baseline, no cost", "no attacks", "no gradients", "nothing right"])
def test_a_check_says_in_a_sentence_what_it_saw_or_why_it_was_not_run(
    check: Checker, scene: str, scenes: dict[str, Any]
) -> None:
    (found,) = run_checks([check], scenes[scene])
    assert (found.number, found.name, found.guards, found.source) == (
        check.number, check.name, check.guards, check.source)  # fmt: skip
    assert check.guards
    assert check.source
    assert re.fullmatch(r"[A-Z0-9].*\.", found.reason), found.reason
    assert (found.verdict == "not run") == found.reason.startswith("Not run: ")
    assert found.verdict != "not run" or found.value is None
