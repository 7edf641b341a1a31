"""An evaluation in the form that the RobustBench leaderboard asks for."""

from typing import Any

from holomorph.errors import DataError
from holomorph.records.evaluation import EvaluationRecord

_NORMS = {"inf": "Linf", "2": "L2", "1": "L1"}


def robustbench(record: EvaluationRecord, **fields: str) -> dict[str, Any]:
    """The fields of RobustBench's ``model_info`` files, accuracies in percent as there.

    ``autoattack_acc`` is what AutoAttack alone left, ``external`` the lowest over all attacks. Fields that only
    the authors know (link, authors, venue, architecture, additional_data) are taken from the arguments.

    Raises
    ------
    DataError
        For a quick evaluation, or one under several threats: the leaderboard takes neither.
    """
    if record.quick or record.upper_bound:
        raise DataError("RobustBench asks for the full AutoAttack. Evaluate without --quick, with gradients.")
    if len(record.threats) != 1:
        raise DataError("RobustBench asks for one threat a file. Evaluate one threat.")
    result = record.threats[0]
    standard = [attack for attack in record.attacks if attack.package.startswith("pyautoattack")]
    lowest = min(attack.accuracy for attack in standard)
    failed = [check for check in record.checks if check.verdict == "fail"]
    return {
        "link": fields.get("link", ""), "name": fields.get("name", record.model), "authors": fields.get("authors", ""),
        "additional_data": fields.get("additional_data", "") == "true",
        "number_forward_passes": int(fields.get("number_forward_passes", "1")), "dataset": record.data,
        "venue": fields.get("venue", "Unpublished"), "architecture": fields.get("architecture", ""),
        "threat_model": _NORMS[result.threat.norm], "eps": str(result.threat.eps),
        "clean_acc": f"{100 * record.clean:.2f}", "reported": f"{100 * lowest:.2f}",
        "autoattack_acc": f"{100 * lowest:.2f}", "external": f"{100 * record.robust:.2f}", "unreliable": bool(failed),
        "footnote": "; ".join(f"check {c.number} ({c.name}) failed" for c in failed) or None,
        "samples": record.samples,
    }  # fmt: skip
