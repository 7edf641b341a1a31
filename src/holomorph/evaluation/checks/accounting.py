"""Checks 2, 17, 18, 19, 20, 22, 23: the account is right and complete."""

from typing import ClassVar

import torch
from torch import nn

from holomorph._utils.interval import percent
from holomorph._utils.words import counted
from holomorph.calculus.norms import norm
from holomorph.evaluation.checks.base import Evidence, Finding, NotApplicableError, graded
from holomorph.evaluation.results import SLACK
from holomorph.threats.constraints import clip


class WhiteAgainstBlackBox:
    """Attacks that read outputs only break nothing that those with gradients leave."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 2
    name: ClassVar[str] = "white box against black box"
    guards: ClassVar[str] = "masked gradients"
    source: ClassVar[str] = "Carlini et al. 2019; Athalye et al. 2018; Croce and Hein 2020"

    def look(self, e: Evidence) -> Finding:
        """Count, sample by sample, what only Square, boundary, numerical gradients or transferred inputs broke."""
        e.need_gradients()
        for access, what in (("white box", "attack with gradients"), ("black box", "attack without gradients")):
            if not any(a.tried for a in e.attacks if a.access == access):
                raise NotApplicableError(f"no {what} had a sample left to try")
        only = e.results.black & ~e.results.white
        share, alone = float(only.cpu().double().mean()), 1 / len(only)
        return Finding(
            graded(share, max(0.002, alone), max(0.02, alone)),
            share,
            f"Black-box attacks alone broke {100 * share:.2f} points.{_escalation(e)}",
        )


def _escalation(e: Evidence) -> str:
    """What the stronger rounds found that follow where black-box attacks win."""
    found = {a.round: 0 for a in e.attacks if a.round}
    for attack in e.attacks:
        if attack.round:
            found[attack.round] += attack.broken
    return f" Stronger rounds followed and broke {', then '.join(map(str, found.values()))} more." if found else ""


class Audit:
    """Norm and range of every adversarial input are recomputed, and the model is run on it again."""

    per_threat: ClassVar[bool] = False
    number: ClassVar[int] = 17
    name: ClassVar[str] = "audit"
    guards: ClassVar[str] = "adversarial inputs outside the threat, and predictions that depend on the batch"
    source: ClassVar[str] = "Carlini et al. 2019"

    def look(self, e: Evidence) -> Finding:
        """Re-run in batches of another size; count violations."""
        bad = total = 0
        for results in e.found.per_threat:
            rows = torch.tensor([i for i, by in enumerate(results.broken_by) if by not in (None, "clean")])
            if len(rows) == 0:
                continue
            near, threat = results.nearest[rows], results.threat
            outside = norm(near - results.x[rows], threat.p) > threat.radius * (1 + SLACK)
            outside |= (clip(results.x[rows], near, threat) != near).flatten(1).any(1)
            right = e.classifier.margins(near, results.y[rows], batch_size=7) > 0
            bad, total = bad + int((outside | right).sum()), total + len(rows)
        again = int((e.classifier.margins(e.x, e.y, batch_size=7) < 0).sum())
        share = (bad + again) / (total + len(e.x))
        return Finding(
            "fail" if share else "pass",
            share,
            f"Looked at again, {bad} of {counted(total, 'adversarial input')} and {again} of "
            f"{counted(len(e.x), 'clean sample')} came out otherwise.",
        )


class Mode:
    """The model was in evaluation mode throughout and is unchanged."""

    per_threat: ClassVar[bool] = False
    number: ClassVar[int] = 18
    name: ClassVar[str] = "mode"
    guards: ClassVar[str] = "dropout, batch statistics and models that learn while attacked"
    source: ClassVar[str] = "Carlini et al. 2019"

    def look(self, e: Evidence) -> Finding:
        """Compare everything the model stores with what it stored before the attacks."""
        model = e.classifier.model
        if not isinstance(model, nn.Module):
            raise NotApplicableError("the model is a function: it has no mode and shows no state")
        training = sum(module.training for module in model.modules())
        changed = e.classifier.stored() != e.found.before
        state = "something the model stores has changed" if changed else "nothing the model stores has changed"
        return Finding(
            "fail" if changed or training else "pass",
            float(changed) + training,
            f"In training mode: {counted(training, 'module')}; {state}.",
        )


class Aggregation:
    """The robust accuracy is the worst case, sample by sample."""

    per_threat: ClassVar[bool] = False
    number: ClassVar[int] = 19
    name: ClassVar[str] = "aggregation"
    guards: ClassVar[str] = "averages over attacks in place of the worst case"
    source: ClassVar[str] = "Carlini et al. 2019"

    def look(self, e: Evidence) -> Finding:
        """Recount from the distances: broken means that something was found inside eps, under any threat."""
        off = 0
        union = torch.ones_like(e.found.robust)
        for results in e.found.per_threat:
            kept = results.smallest > results.threat.radius * (1 + SLACK)
            off += int((kept != results.robust).sum())
            union &= kept
        off += int((union != e.found.robust).sum())
        reason = f"Counted otherwise by their distance: {counted(off, 'sample')}."
        return Finding("fail" if off else "pass", float(off), reason)


class LossDiversity:
    """Both a cross-entropy and a margin loss were attacked."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 20
    name: ClassVar[str] = "loss diversity"
    guards: ClassVar[str] = "defences against one loss function"
    source: ClassVar[str] = "Croce and Hein 2020; Tramer et al. 2020"

    def look(self, e: Evidence) -> Finding:
        """Look through the attacks that were run."""
        e.need_gradients()
        entropy, margins = (
            sorted({a.name for a in e.attacks if a.access == "white box" and a.loss == loss})
            for loss in ("cross-entropy", "margin")
        )
        missing = not entropy or not margins
        return Finding(
            "fail" if missing else "pass",
            float(len(entropy) + len(margins)),
            f"Cross-entropy: {', '.join(entropy) or 'none'}; margins: {', '.join(margins) or 'none'}.",
        )


class UndefendedBaseline:
    """The same attacks break an undefended model."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 22
    name: ClassVar[str] = "undefended baseline"
    guards: ClassVar[str] = "attacks that break nothing, and threats too small to matter"
    source: ClassVar[str] = "Carlini et al. 2019"

    def look(self, e: Evidence) -> Finding:
        """Take the share of the baseline's correct predictions that survive."""
        if e.baseline is None:
            raise NotApplicableError("there is no undefended baseline; give one")
        right = int((e.baseline.predictions == e.baseline.y).sum())
        if right == 0:
            raise NotApplicableError("the baseline classifies no sample correctly")
        share = int(e.baseline.per_threat[e.index].robust.sum()) / right
        return Finding(
            graded(share, 0.7, 0.9), share, f"{percent(share)} of the baseline's correct predictions survive."
        )


class ReportFields:
    """The record says everything that a reader needs to judge it."""

    per_threat: ClassVar[bool] = False
    number: ClassVar[int] = 23
    name: ClassVar[str] = "report fields"
    guards: ClassVar[str] = "figures that nobody can reproduce"
    source: ClassVar[str] = "Carlini et al. 2019; RobustBench"

    def look(self, e: Evidence) -> Finding:
        """See that every attack states its settings and seed, and every threat has a curve."""
        unstated = [a.name for a in e.found.attacks if "seed" not in a.settings or not a.package]
        drawn = [any(a.curve for a in view.attacks) for view in e.each()]
        curve = all(drawn) or not e.found.inspection.differentiable
        cost = "" if e.training_cost is not None else " The cost of training was not given."
        if unstated or not curve:
            return Finding("fail", float(len(unstated)), f"Unstated: {', '.join(unstated) or 'the curve'}.")
        return Finding("pass", 0.0, f"Threats, samples, seed, versions, settings and curves are recorded.{cost}")
