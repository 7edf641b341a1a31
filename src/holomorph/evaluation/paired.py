"""Two evaluations on the same samples: what one model is ahead of the other, paired sample by sample."""

from holomorph._utils.statistics import paired_interval
from holomorph.errors import DataError
from holomorph.records.comparison import UNION
from holomorph.records.evaluation import EvaluationRecord, PairedDifference

#: How the baseline inside a record is called.
BASELINE_NAME = "the undefended baseline"


def versus(first: EvaluationRecord, second: EvaluationRecord, against: str = "") -> tuple[PairedDifference, ...]:
    """Subtract the second model's accuracies from the first's: clean, under every threat that both know, and union.

    Parameters
    ----------
    first, second:
        Records of evaluations on the same samples.
    against:
        How to call the second model; by default as its record does.

    Raises
    ------
    DataError
        For records on different samples, in different boxes or units of features, or without a threat in common.

    Source: docs/evaluation.md; Tango 1998 (paired score interval).
    """
    if (first.labels, first.samples_hash) != (second.labels, second.samples_hash):
        raise DataError(
            f"The records are of different samples ({first.samples} and {second.samples}), which cannot be paired. "
            f"Evaluate both models with the same data and the same n."
        )
    if _space(first) != _space(second):  # "inf:1" is then another threat
        raise DataError(
            "The records are of other boxes, or of other eps or ranges of the features, so that equal threats allow "
            "different things. Evaluate both models with the same box and features."
        )
    mine, theirs = outcomes(first), outcomes(second)
    shared = [
        quantity for quantity in mine if quantity in theirs and (quantity != UNION or mine.keys() == theirs.keys())
    ]
    if shared == ["clean"]:
        raise DataError("The records have no threat in common. Evaluate both models under the same threats.")
    name = against or second.model
    return tuple(
        PairedDifference(against=name, quantity=quantity, interval=paired_interval(mine[quantity], theirs[quantity]))
        for quantity in shared
    )


def _space(record: EvaluationRecord) -> tuple[object, ...]:
    return record.features, record.threats[0].threat.box


def outcomes(record: EvaluationRecord) -> dict[str, list[bool]]:
    """Which samples are right: clean, under each threat, and with several threats under all of them (union)."""
    right = {"clean": [a == y for a, y in zip(record.predictions, record.labels, strict=True)]}
    right |= {str(result.threat): [by is None for by in result.broken_by] for result in record.threats}
    if len(record.threats) > 1:
        threats = [right[str(result.threat)] for result in record.threats]
        right[UNION] = [all(row) for row in zip(*threats, strict=True)]
    return right
