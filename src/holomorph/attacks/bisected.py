"""The nearest adversarial input on a segment from the sample to one that an ascent has found."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holomorph.attacks.base import Needs
from holomorph.attacks.pgd import attack_ascent
from holomorph.calculus.norms import per_sample
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import resized


@dataclass(frozen=True)
class Bisected:
    r"""Ascent within twice the radius, then bisection back to x while the prediction stays wrong.

    FMN and DDN now and then halt exactly on a flat boundary and find nothing; the accuracy-eps curve up to twice
    eps must not depend on that.

    Source: docs/evaluation.md; our own.
    """

    threat: ThreatModel
    steps: int = 40
    halvings: int = 10

    name = "pgd-bisected"
    needs = Needs("margin", features=True, everyone=True, curve=True)

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"steps": self.steps, "halvings": self.halvings, "loss": "scaled"}

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Go far, then halve the way back while the prediction stays wrong."""
        wide = resized(self.threat, 2 * self.threat.radius)
        run = attack_ascent(classifier, x, y, wide, steps=self.steps, loss="scaled")
        inner, outer = torch.zeros_like(x.flatten(1)[:, 0]), torch.ones_like(x.flatten(1)[:, 0])
        for _ in range(self.halvings):
            middle = (inner + outer) / 2
            wrong = classifier.predictions(x + per_sample(middle, x) * (run.wrong - x)) != y
            inner, outer = torch.where(wrong, inner, middle), torch.where(wrong, middle, outer)
        return x + per_sample(outer, x) * (run.wrong - x)
