"""Checks 1, 3, 4, 5: a stronger attack must break more."""

import itertools
import math
from typing import ClassVar

import torch

from holomorph._utils.interval import percent
from holomorph.calculus.norms import random_in_ball
from holomorph.evaluation.checks.base import Evidence, Finding, graded
from holomorph.threats.constraints import into, resized


class OneStepAgainstMany:
    """Ascent in 40 steps succeeds at least as often as in one."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 1
    name: ClassVar[str] = "one step against many"
    guards: ClassVar[str] = "gradients that mislead an iterated attack"
    source: ClassVar[str] = "Carlini et al. 2019; Athalye et al. 2018"

    def look(self, e: Evidence) -> Finding:
        """Compare the two on the probe; one sample is let pass as chance."""
        one, many = e.ascend(e.x, e.y, steps=1), e.ascend(e.x, e.y, steps=40)
        e.account("one step", e.rows, one)
        e.account("40 steps", e.rows, many)
        first, last = float(one.broken.cpu().double().mean()), float(many.broken.cpu().double().mean())
        chance = 1 / len(e.x)
        return Finding(
            graded(first - last, chance, max(chance, 0.02)),
            last - first,
            f"One step breaks {percent(first)} of the probe, 40 steps {percent(last)}.",
        )


class RandomNoise:
    """Many random draws find nothing that the white-box attacks missed."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 3
    name: ClassVar[str] = "random noise"
    guards: ClassVar[str] = "gradient attacks weaker than chance"
    source: ClassVar[str] = "Carlini et al. 2019; Athalye et al. 2018"

    def look(self, e: Evidence) -> Finding:
        """Draw inside the ball and, for l_inf, from its corners; count what only noise broke."""
        generator, white = e.generator(self.number), e.results.white[e.rows]
        if not e.found.inspection.differentiable:
            white = white | e.results.black[e.rows]  # there is no white box to compare with
        broken = torch.zeros_like(white)
        draws = 30 if e.found.quick else 100
        for draw in range(draws):
            e_noise = _draw(e, generator, corner=draw % 2 == 1)
            points = into(e.x, e.x + e_noise, e.threat)
            broken |= e.classifier.predictions(points) != e.y
            e.results.submit("random noise", "black box", e.rows, points)
        only = float((broken & ~white).cpu().double().mean())
        return Finding(
            graded(only, 0.0, 0.01),
            only,
            f"{draws} draws break {percent(float(broken.cpu().double().mean()))} of the probe, "
            f"{percent(only)} that no other attack broke.",
        )


def _draw(e: Evidence, generator: torch.Generator, *, corner: bool) -> torch.Tensor:
    u = random_in_ball(e.x, e.threat.p, e.threat.radius, generator)
    return u.sign() * e.threat.radius if corner and e.threat.p == math.inf else u


class MonotoneInEps:
    """Success never falls as eps grows."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 4
    name: ClassVar[str] = "monotone in eps"
    guards: ClassVar[str] = "an attack that gets lost in a larger ball"
    source: ClassVar[str] = "Carlini et al. 2019"

    def look(self, e: Evidence) -> Finding:
        """Attack at a quarter, half, once and twice the radius; a fall of 2 % of the probe is let pass as chance."""
        rates = []
        for factor in (0.25, 0.5, 1.0, 2.0):
            threat = resized(e.threat, factor * e.threat.radius)
            rates.append(float(e.ascend(e.x, e.y, steps=40, loss="scaled", threat=threat).broken.cpu().double().mean()))
        fall = max(0.0, *(a - b for a, b in itertools.pairwise(rates)))
        return Finding(
            graded(fall, 0.02, 0.05), fall, f"Success at 1/4, 1/2, 1 and 2 eps: {', '.join(percent(r) for r in rates)}."
        )


class Unbounded:
    """With the whole box allowed, next to nothing survives."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 5
    name: ClassVar[str] = "unbounded attack"
    guards: ClassVar[str] = "an attack that cannot leave where it starts"
    source: ClassVar[str] = "Carlini et al. 2019; Athalye et al. 2018"

    def look(self, e: Evidence) -> Finding:
        """Attack within the diameter of the box, with three starts in the threat's ball; less than 1 % may survive."""
        low, high = e.threat.box
        features = e.x[0].numel()
        width = (high - low) * {"inf": 1.0, "2": math.sqrt(features), "1": float(features)}[e.threat.norm]
        threat = resized(e.threat, width)
        left = torch.ones_like(e.y, dtype=torch.bool)
        generator = e.generator(self.number)
        for restart in range(4):
            if not left.any():
                break
            x, y = e.x[left], e.y[left]
            drawn = x + random_in_ball(x, e.threat.p, e.threat.radius, generator)
            run = e.ascend(x, y, steps=60, loss="margin", threat=threat, start=drawn if restart else None)
            left[left.clone()] = ~run.broken
        share = float(left.cpu().double().mean())
        return Finding(graded(share, 0.01, 0.01), share, f"{percent(share)} of the probe survives the whole box.")
