"""Rules side by side: a table, two plots, and which differences the intervals leave open."""

from collections.abc import Sequence

from holomorph.records.base import Record
from holomorph.records.comparison import ComparisonRecord
from holomorph.reporting import comparison_plots as plots
from holomorph.reporting.parts.base import Context, one
from holomorph.reporting.words import percentage


def comparison_part(records: Sequence[Record]) -> Context:
    """Rank the rules by the last of the values: the union of all threats, or the only one."""
    found = one(records, ComparisonRecord)
    if found is None or not found.rules:
        return None
    last = found.quantities[-1]
    ranked = sorted(found.rules, key=lambda rule: -rule.accuracies[last].value)
    return {
        "found": found,
        "rules": ranked,
        "sentence": _sentence(found, last, [rule.text for rule in ranked]),
        "pictures": [plots.accuracies(found, last), plots.costs(found, last)],
    }


def _sentence(found: ComparisonRecord, quantity: str, ranked: Sequence[str]) -> str:
    best = next(rule for rule in found.rules if rule.text == ranked[0]).accuracies[quantity]
    said = f"{ranked[0]} keeps most: {percentage(best.value)} ({quantity})."
    pairs = {(d.first, d.second): d for d in found.differences if d.quantity == quantity}
    open_ = [
        name
        for name in ranked[1:]
        if (pair := pairs.get((ranked[0], name)) or pairs.get((name, ranked[0]))) is not None and not pair.clear
    ]
    return f"{said} The samples and seeds do not tell it from {', '.join(open_)}." if open_ else said
