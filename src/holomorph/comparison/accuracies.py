"""The accuracies of every rule over seeds and samples, and the paired differences of every two."""

import itertools

import numpy as np

from holomorph._utils.statistics import crossed_interval
from holomorph.records.comparison import ComparisonRecord, Difference, RuleResult, RunResult
from holomorph.rules import Rule


def with_accuracies(
    record: ComparisonRecord, rules: dict[str, Rule], runs: dict[str, list[RunResult]]
) -> ComparisonRecord:
    """Fill in the accuracies of every rule and the differences of every pair, with intervals over seeds and samples."""
    right = {(text, q): _right(runs[text], q) for text in rules for q in record.quantities}
    results = tuple(
        RuleResult(
            text=text,
            settings=rule.settings(),
            cost=runs[text][0].cost or rule.cost.passes / 3,  # some rules know it once they have seen the network
            seconds=float(np.mean([run.seconds for run in runs[text]])),
            accuracies={q: crossed_interval(right[text, q]) for q in record.quantities},
            runs=tuple(runs[text]),
        )
        for text, rule in rules.items()
    )
    differences = tuple(
        Difference(first=a, second=b, quantity=q, interval=crossed_interval(right[a, q], right[b, q]))
        for a, b in itertools.combinations(rules, 2)
        for q in record.quantities
    )
    return record.model_copy(update={"rules": results, "differences": differences})


def _right(runs: list[RunResult], quantity: str) -> list[list[bool]]:
    return [[mark == "1" for mark in run.right[quantity]] for run in runs]
