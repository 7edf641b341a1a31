"""Ascent that asks the model at points of the data's grid only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from holomorph.attacks.base import Needs
from holomorph.attacks.pgd import Pgd
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel
from holomorph.threats.grid import Grid


class Rounded(Classifier):
    """The classifier asked where it is meant to be, such as on a grid; gradients pass the rounding as if not there."""

    def __init__(self, classifier: Classifier, rounding: Callable[[Tensor], Tensor]) -> None:
        super().__init__(classifier, differentiable=classifier.differentiable)
        self.rounding = rounding

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits at the point to which x is rounded."""
        rounded = self.rounding(x.detach())
        return super().forward(x + (rounded - x.detach()) if x.requires_grad else rounded)


@dataclass(frozen=True)
class OnGridPgd:
    """The ascent of the scaled margin with every query rounded to the grid: for models that behave otherwise off it.

    Source: docs/evaluation.md; our own.
    """

    threat: ThreatModel
    grid: Grid
    steps: int = 40

    name = "pgd-on-grid"
    needs = Needs("margin", features=True, grid=True)

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"steps": self.steps, "loss": "scaled"}

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Propose points of the grid."""
        grid = self.grid.to(x.device)
        found = Pgd(self.threat, "scaled", steps=self.steps)(Rounded(classifier, grid.snap), x, y, seed)
        return grid.inside(x, found, self.threat)
