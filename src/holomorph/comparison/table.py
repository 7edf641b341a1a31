"""A comparison as a table that a person reads."""

from holomorph.records.base import Interval
from holomorph.records.comparison import UNION, ComparisonRecord


def comparison_table(record: ComparisonRecord) -> str:
    """Write the comparison as Markdown, best union (or only threat) first.

    A value is the mean over seeds in percent with its 95 % interval. A star marks rules that are not clearly worse
    than the best one in the last column: the paired interval of the difference holds 0. Below stand the classes.
    """
    last = record.quantities[-1]
    ranked = sorted(record.rules, key=lambda rule: -rule.accuracies[last].value)
    best = ranked[0].text
    heads = ["rule", *(f"{f} of all" if f == UNION else f for f in record.quantities), "time", "passes"]
    lines = [" | ".join(heads), " | ".join(["---"] * len(heads))]
    plain = min(rule.seconds for rule in record.rules)
    for rule in ranked:
        tied = rule.text == best or not record.difference(best, rule.text, last).clear
        cells = [f"`{rule.text}`{' *' if tied else ''}"]
        cells += [_cell(rule.accuracies[f]) for f in record.quantities]
        lines.append(" | ".join([*cells, f"{rule.seconds / plain:.1f}", f"{rule.cost:.1f}"]))
    classes = f"\n\nClasses: {', '.join(record.class_names)}." if record.class_names else ""
    return "\n".join(f"| {line} |" for line in lines) + classes


def _cell(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} ({100 * interval.low:.1f}-{100 * interval.high:.1f})"
