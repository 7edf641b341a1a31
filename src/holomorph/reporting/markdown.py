"""The report in Markdown: what a log of continuous integration or a pull request shows."""

from collections.abc import Iterable, Sequence

from holomorph.errors import ConfigError
from holomorph.records.base import Record
from holomorph.records.evaluation import EvaluationRecord
from holomorph.reporting.parts import comparison, summary
from holomorph.reporting.parts.base import one
from holomorph.reporting.render import title_of
from holomorph.reporting.words import duration, percent_range, percentage, times


def markdown(records: Sequence[Record], *, title: str | None = None) -> str:
    """Return the summary, the comparison, the checks that need reading and the attacks, as Markdown without pictures.

    Raises
    ------
    ConfigError
        For two records of one kind, or none that speaks of a run.
    """
    blocks = [*_summary(records), *_comparison(records), *_evaluation(one(records, EvaluationRecord))]
    if not blocks:
        raise ConfigError("There is nothing to report: none of the records speaks of a run. Train or evaluate first.")
    return "\n\n".join([f"# {title or title_of(records)}", *blocks]).replace("\u202f", " ") + "\n"


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Write a table.

    >>> print(markdown_table(["a", "b"], [["1", "x|y"]]))
    | a | b |
    | --- | --- |
    | 1 | x\|y |
    """
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _summary(records: Sequence[Record]) -> list[str]:
    view = summary.summary_part(records)
    if view is None:
        return []
    blocks = [view["headline"]]
    if view["failed"]:
        blocks.append(f"**Do not trust the robust accuracy yet**: {', '.join(c.name for c in view['failed'])} failed.")
    blocks += view["notes"]
    if view["rows"]:
        heads = ["", "this model", "95 % interval or unit", "undefended baseline"]
        blocks.append(markdown_table(heads, view["rows"]))
    return blocks


def _comparison(records: Sequence[Record]) -> list[str]:
    view = comparison.comparison_part(records)
    if view is None:
        return []
    quantities = view["found"].quantities
    rows = [
        [
            f"`{rule.text}`",
            times(rule.cost),
            *(f"{percentage(i.value)} ({percent_range(i)})" for i in (rule.accuracies[q] for q in quantities)),
        ]
        for rule in view["rules"]
    ]
    return [view["sentence"], markdown_table(["rule", "cost", *quantities], rows)]


def _evaluation(found: EvaluationRecord | None) -> list[str]:
    if found is None:
        return []
    blocks = []
    if loud := [check for check in found.checks if check.verdict in ("fail", "warn")]:
        blocks.append(
            markdown_table(["check", "verdict", "what was found"], ([c.name, c.verdict, c.reason] for c in loud))
        )
    rows = [
        [a.name, a.threat, str(a.tried), str(a.broken), percentage(a.accuracy), duration(a.seconds)]
        for a in found.attacks
    ]
    if rows:
        blocks.append(markdown_table(["attack", "threat", "tried on", "broke", "accuracy left", "took"], rows))
    return blocks
