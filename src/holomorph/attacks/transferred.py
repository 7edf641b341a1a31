"""Adversarial inputs of another model of the same task."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from holomorph.attacks.base import Needs
from holomorph.attacks.pgd import Pgd
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel


@dataclass(frozen=True)
class Transferred:
    """Adversarial inputs of another model, tried on this one: it reads nothing of the attacked model.

    Source: docs/evaluation.md; Papernot et al. 2016.
    """

    threat: ThreatModel
    source: Classifier
    steps: int = 40

    name = "transferred"
    needs = Needs("cross-entropy", gradients=False, features=True, source=True, everyone=True)

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"steps": self.steps, "source": "the undefended baseline", "loss": "cross-entropy"}

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Attack the source and propose what was found."""
        return Pgd(self.threat, "cross-entropy", steps=self.steps)(self.source, x, y, seed)
