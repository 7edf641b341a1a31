"""Ascent that asks the model at points of the data's grid only."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from holomorph.attacks.base import Needs
from holomorph.attacks.pgd import Pgd
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel
from holomorph.threats.grid import Grid


class OnGrid(Classifier):
    """The classifier asked at points of the grid only; gradients pass the rounding as if it were not there."""

    def __init__(self, classifier: Classifier, grid: Grid) -> None:
        super().__init__(classifier, differentiable=classifier.differentiable)
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits at the nearest point of the grid."""
        rounded = self.grid.snap(x.detach())
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
        found = Pgd(self.threat, "scaled", steps=self.steps)(OnGrid(classifier, grid), x, y, seed)
        return grid.inside(x, found, self.threat)
