"""All rules on the digits, by ``compare``: three seeds, equal epochs, PGD on the validation samples.

Run ``python -m studies.energy.first_comparison``; started again it goes on. Writes first_comparison.json and .md.
"""

from __future__ import annotations

from holomorph._utils.progress import shown
from holomorph.comparison import compare, frontiers, table
from holomorph.data import load
from holomorph.rules import RULES
from holomorph.threats import ThreatModel
from studies.kept import RUNS, results

RESULTS = results("energy")

#: The threat that rules are trained for, and two that they have not seen.
THREATS = (ThreatModel("inf", 0.1), ThreatModel(2, 0.5), ThreatModel(1, 2.0))


def main() -> None:
    with shown():
        record = compare(
            load("digits"),
            sorted(RULES),
            THREATS,
            budget="20epochs",
            seeds=3,
            out=RUNS / "digits",
            resume=True,
            model="mlp",
            batch_size=64,
            lr=2e-3,
        )
    record.save(RESULTS / "first_comparison.json")
    (RESULTS / "first_comparison.md").write_text(table(record) + "\n")
    frontiers(record, RESULTS / "first_comparison")


if __name__ == "__main__":
    main()
