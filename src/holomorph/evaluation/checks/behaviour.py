"""Checks 24, 25, 26: the gradient tells the truth, the model remembers nothing, the data's grid is nothing special."""

import sys
from types import FrameType
from typing import Any, ClassVar

from holomorph._utils.interval import percent
from holomorph._utils.words import counted
from holomorph.evaluation.checks.base import Evidence, Finding, NotApplicableError, graded


class GradientAgainstDifferences:
    """The gradient predicts how the margin changes over steps of the attack's size."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 24
    name: ClassVar[str] = "gradient against differences"
    guards: ClassVar[str] = "gradients that are not those of the predictions: straight-through, shattered, reversed"
    source: ClassVar[str] = "Athalye et al. 2018; Tramer et al. 2020"
    warn: ClassVar[float] = -0.7
    fail: ClassVar[float] = -0.5

    def look(self, e: Evidence) -> Finding:
        """Take the mean cosine of predicted and actual changes in several directions."""
        e.need_gradients()
        agreement = e.found.agreement[e.index]
        if agreement is None:
            raise NotApplicableError("neither the gradient nor the margin changes")
        verdict = graded(-agreement, self.warn, self.fail)
        so = " Attacked without its gradients as well." if verdict == "fail" else ""
        return Finding(verdict, agreement, f"The mean cosine of predicted and actual changes is {agreement:.2f}.{so}")


class Memory:
    """Whatever was asked before, in whatever company, the model says the same."""

    per_threat: ClassVar[bool] = False
    number: ClassVar[int] = 25
    name: ClassVar[str] = "memory"
    guards: ClassVar[str] = "models that remember what they were asked, count calls, or keep files"
    source: ClassVar[str] = "Tramer et al. 2020; our own"

    def look(self, e: Evidence) -> Finding:
        """Ask again from the model's first state, in another order and other batches; watch for files."""
        behaviour, changed = e.found.inspection.behaviour, e.found.changed
        files = _files_opened(e)
        seen = [
            text
            for text, true in (
                ("What was asked before changes the logits; attacked from the first state.", behaviour.stateful),
                ("The rest of the batch changes the logits; attacked sample by sample.", behaviour.batch_dependent),
                (f"The forward pass opens {counted(files, 'file')}.", bool(files)),
                (f"{percent(changed or 0.0)} of the queried points got other logits afterwards.", bool(changed)),
            )
            if true
        ]
        value = float(behaviour.stateful) + float(behaviour.batch_dependent) + float(bool(files)) + (changed or 0.0)
        return Finding("fail" if seen else "pass", value, " ".join(seen) or "Asked again, the model says the same.")


def _files_opened(e: Evidence) -> int:
    """Calls of ``open`` and of databases during one forward pass; the first pass may still load code."""
    calls = 0

    def count(_frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "c_call" and getattr(argument, "__name__", "") in ("open", "connect", "fdopen", "memmap")

    few = e.found.x[:4]
    e.classifier.logits(few)
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        e.classifier.logits(few)
    finally:
        sys.setprofile(before)
    return calls


class DataGrid:
    """Inputs on the data's grid, which real inputs are, are not easier to break than those between its points."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 26
    name: ClassVar[str] = "data grid"
    guards: ClassVar[str] = "models that behave otherwise between 8-bit values or whole numbers, where attacks look"
    source: ClassVar[str] = "our own"

    def look(self, e: Evidence) -> Finding:
        """Compare the change of the logits off the grid with that along it, and count what only the grid broke."""
        jump = e.found.jump
        if jump is None:
            raise NotApplicableError("the data lie on no grid")
        only = float(e.results.on_grid_only.cpu().double().mean())
        alone = 1 / len(e.results.y)
        verdict = max(graded(jump, 1.5, 3.0), graded(only, max(0.01, alone), max(0.05, 3 * alone)), key=_ORDER.index)
        return Finding(
            verdict,
            jump,
            f"Off the grid the logits change {jump:.2f} times as much as from point to point; "
            f"{percent(only)} of the samples were broken on the grid only.",
        )


_ORDER = ("pass", "warn", "fail")
