"""Checks 13, 14, 15, 16: what the model returns, and what it does while it computes it."""

import sys
from types import FrameType
from typing import Any, ClassVar

from holomorph._utils.words import counted
from holomorph.evaluation.checks.base import Evidence, Finding, graded


class Logits:
    """The outputs are logits, not probabilities."""

    per_threat: ClassVar[bool] = False
    number: ClassVar[int] = 13
    name: ClassVar[str] = "logits"
    guards: ClassVar[str] = "losses that saturate because softmax is taken twice"
    source: ClassVar[str] = "Croce and Hein 2020"

    def look(self, e: Evidence) -> Finding:
        """Look for rows of numbers in [0, 1] that sum to 1; for a single output, for numbers in [0, 1] throughout."""
        rows = e.classifier.logits(e.found.x)
        off = float((rows.sum(1) - 1).abs().max())
        if bool(((rows > -1e-5) & (rows < 1 + 1e-5)).all()) and off < 1e-4:
            return Finding("fail", off, "Every row sums to 1: these are probabilities. Remove the softmax.")
        single = rows[:, 1] - rows[:, 0]
        paired = rows.shape[1] == 2 and bool((rows.sum(1) == 0).all())
        if paired and len(rows) > 1 and bool(((single >= 0) & (single <= 1)).all()):
            text = "The one output lies in [0, 1] on every sample: a probability, but 0 divides the classes. "
            return Finding("fail", off, text + "Remove the sigmoid.")
        return Finding("pass", off, "The rows are not probabilities.")


class Determinism:
    """Five passes agree."""

    per_threat: ClassVar[bool] = False
    number: ClassVar[int] = 14
    name: ClassVar[str] = "determinism"
    guards: ClassVar[str] = "randomised models, whose single predictions fool attacks"
    source: ClassVar[str] = "Croce and Hein 2020; Athalye et al. 2018"

    def look(self, e: Evidence) -> Finding:
        """Take the largest relative change of a sample's logits between passes."""
        spread = e.found.inspection.spread
        verdict = graded(spread, 1e-4, 1e-4)
        so = "Attacked in expectation over 20 gradients; predictions are averages." if verdict == "fail" else ""
        return Finding(verdict, spread, f"Logits of five passes differ by {spread:.1e} of their length. {so}".strip())


class OptimisationAtInference:
    """The model takes no gradients inside its forward pass."""

    per_threat: ClassVar[bool] = False
    number: ClassVar[int] = 15
    name: ClassVar[str] = "optimisation at inference"
    guards: ClassVar[str] = "defences that adapt to the attack at test time"
    source: ClassVar[str] = "Croce et al. 2022; Tramer et al. 2020"

    def look(self, e: Evidence) -> Finding:
        """Count the calls into torch's gradient engine during one forward pass.

        A profile function is used, not a trace function: coverage tools keep theirs.
        """
        calls = 0

        def count(frame: FrameType, event: str, _argument: Any) -> None:
            nonlocal calls
            if event == "call" and frame.f_code.co_name == "_engine_run_backward":
                calls += 1

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            e.classifier.logits(e.x[:4])
        finally:
            sys.setprofile(before)
        return Finding(
            "fail" if calls else "pass",
            float(calls),
            f"The forward pass makes {counted(calls, 'call')} to the gradient engine.",
        )


class ClassCount:
    """The losses that were used are defined for this number of classes."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 16
    name: ClassVar[str] = "class count"
    guards: ClassVar[str] = "ratio losses below three or four classes"
    source: ClassVar[str] = "Croce and Hein 2020"

    def look(self, e: Evidence) -> Finding:
        """Below four classes demand a margin loss in place of the targeted ratio loss."""
        classes = e.found.inspection.classes
        if classes >= 4:
            return Finding("pass", float(classes), f"{classes} classes: every loss is defined.")
        if any(attack.loss == "margin" for attack in e.attacks):
            return Finding("pass", float(classes), f"{classes} classes: the margin loss stands in for the ratio loss.")
        return Finding("fail", float(classes), f"{classes} classes, and no attack with a margin loss was run.")
