"""Checks 6, 7, 11, 12: a longer attack would not find more, and nothing found was lost."""

from typing import ClassVar

import torch

from holomorph._utils.interval import percent
from holomorph._utils.words import counted
from holomorph.calculus.norms import random_in_ball
from holomorph.evaluation.checks.base import Evidence, Finding, NotApplicableError, graded

#: A change of half a point counts as none, and so does a single sample.
_SLIGHT, _LARGE = 0.005, 0.02


def _more(e: Evidence, name: str, newly: int, looked_at: int) -> Finding:
    """Grade how many more samples a stronger attack broke, as a share of those it stands for."""
    share = newly / len(e.found.y)
    alone = 1 / len(e.found.y)
    return Finding(
        graded(share, max(_SLIGHT, alone), max(_LARGE, alone)),
        share,
        f"{name} could break {newly} of {counted(looked_at, 'survivor')}. Robust accuracy falls by "
        f"{100 * share:.2f} points.",
    )


class Steps:
    """Twice the steps break hardly anything more."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 6
    name: ClassVar[str] = "steps"
    guards: ClassVar[str] = "attacks stopped too early"
    source: ClassVar[str] = "Carlini et al. 2019"

    def look(self, e: Evidence) -> Finding:
        """Give the survivors 200 steps instead of AutoAttack's 100."""
        rows = e.survivors
        if len(rows) == 0:
            raise NotApplicableError("nothing survived the attacks")
        steps = 100 if e.found.quick else 200
        run = e.ascend(e.found.x[rows], e.found.y[rows], steps=steps, loss="scaled")
        return _more(e, f"An ascent of {steps} steps", e.account("twice the steps", rows, run), len(rows))


class Restarts:
    """Further random starts break hardly anything more."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 7
    name: ClassVar[str] = "restarts"
    guards: ClassVar[str] = "attacks caught in one local maximum"
    source: ClassVar[str] = "Carlini et al. 2019"
    starts: ClassVar[int] = 3

    def look(self, e: Evidence) -> Finding:
        """Give the survivors three random starts of 50 steps."""
        generator, newly, looked_at = e.generator(self.number), 0, len(e.survivors)
        if looked_at == 0:
            raise NotApplicableError("nothing survived the attacks")
        for _ in range(self.starts):
            rows = e.survivors
            x, y = e.found.x[rows], e.found.y[rows]
            start = x + random_in_ball(x, e.threat.p, e.threat.radius, generator)
            newly += e.account("restarts", rows, e.ascend(x, y, steps=50, loss="margin", start=start))
        return _more(e, f"{self.starts} further random starts", newly, looked_at)


class Unfinished:
    """The best loss no longer moves in the last ten steps."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 11
    name: ClassVar[str] = "unfinished optimisation"
    guards: ClassVar[str] = "attacks whose loss is still rising when they stop"
    source: ClassVar[str] = "Pintor et al. 2022"

    def look(self, e: Evidence) -> Finding:
        """Take the rise of the loss in the last ten of 100 steps as a share of the whole rise."""
        losses = e.ascend(e.x, e.y, steps=100, loss="scaled").losses
        rise = losses[-1] - losses[0]
        moving = torch.where(rise > 0, (losses[-1] - losses[-11]) / rise.clamp_min(1e-12), torch.zeros_like(rise))
        share = float(moving.mean())
        return Finding(
            graded(share, 0.02, 0.1), share, f"{percent(share)} of the rise of the loss falls in the last ten steps."
        )


class SilentSuccess:
    """No iterate that was adversarial got lost."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 12
    name: ClassVar[str] = "silent success"
    guards: ClassVar[str] = "attacks that pass an adversarial input and return another"
    source: ClassVar[str] = "Pintor et al. 2022"

    def look(self, e: Evidence) -> Finding:
        """Compare every iterate of an ascent with the account: what was wrong once must count as broken."""
        run = e.ascend(e.x, e.y, steps=40, loss="margin")
        e.account("every iterate", e.rows, run)
        lost = run.broken & e.results.robust[e.rows]
        share = float(lost.cpu().double().mean())
        dropped = float((run.broken & (e.classifier.predictions(run.final) == e.y)).cpu().double().mean())
        return Finding(
            graded(share, 0.0, 0.0),
            share,
            f"{percent(share)} of the probe was misclassified on the way and yet counts as robust "
            f"(the last iterate alone would have lost {percent(dropped)}).",
        )
