"""What an attack is to the evaluator: a callable that proposes adversarial inputs and says its needs as data."""

import importlib.metadata
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import FeatureThreat
from holomorph.threats.grid import Grid

#: Whether an attack reads gradients.
Access = Literal["white box", "black box"]

#: How much is run: an upper bound in under a minute, what a claim rests on, or everything there is.
Effort = Literal["quick", "full", "thorough"]


@dataclass(frozen=True)
class Needs:
    """What an attack asks of the model and the threat, and what it gives: plans, checks and refusals read it.

    Parameters
    ----------
    loss:
        What it climbs; ``none`` where it looks at predictions only.
    gradients:
        Whether it reads the model's gradients (white box).
    classes:
        The smallest number of classes for which its loss is defined.
    norms:
        The norms that it knows.
    features:
        Whether it knows an eps and a range for each feature.
    averages:
        Whether it averages over passes of a randomised model itself.
    source:
        Whether it needs another model to take examples from.
    grid:
        Whether it needs data that lie on a grid.
    everyone:
        Whether it runs on every correctly classified sample, or only on survivors.
    curve:
        Whether it looks for the nearest adversarial input, from which the accuracy-eps curve is drawn.
    package:
        Who wrote it.
    """

    loss: Literal["cross-entropy", "margin", "none"]
    gradients: bool = True
    classes: int = 2
    norms: frozenset[str] = frozenset({"inf", "2", "1"})
    features: bool = False
    averages: bool = False
    source: bool = False
    grid: bool = False
    everyone: bool = False
    curve: bool = False
    package: str = "holomorph"

    @property
    def access(self) -> Access:
        """White box with gradients, black box without."""
        return "white box" if self.gradients else "black box"

    @property
    def version(self) -> str:
        """The package with its version."""
        return f"{self.package} {importlib.metadata.version(self.package)}"


@dataclass(frozen=True)
class Situation:
    """What attacks are chosen for: the threat, the model as far as it is known, and how much is to be run.

    ``masked`` says that gradients exist but mislead. ``source`` is another model of the task, to take examples from;
    ``samples`` how many are evaluated; ``pace`` the share of a quick plan's steps that the time allows;
    ``grid`` that of the data.
    """

    threat: ThreatModel
    classes: int
    gradients: bool = True
    randomised: bool = False
    masked: bool = False
    effort: Effort = "full"
    source: Classifier | None = None
    samples: int = 0
    pace: float = 1.0
    grid: Grid | None = None

    @property
    def features(self) -> bool:
        """Whether each feature has an eps of its own."""
        return isinstance(self.threat, FeatureThreat)

    def refusal(self, needs: Needs) -> str:
        """Why an attack with these needs cannot serve here; empty where it can.

        >>> Situation(ThreatModel("inf", 0.1), classes=2).refusal(Needs("margin", classes=4))
        'needs 4 classes, the model has 2'
        """
        if needs.classes > self.classes:
            return f"needs {needs.classes} classes, the model has {self.classes}"
        if self.threat.norm not in needs.norms:
            return f"knows no l_{self.threat.norm}"
        if self.features and not needs.features:
            return "knows one eps and one box for all features"
        if needs.gradients and not self.gradients:
            return "needs gradients, which the model does not give"
        if needs.source and self.source is None:
            return "needs another model to take examples from"
        if needs.grid and self.grid is None:
            return "needs data on a grid, such as 8-bit values"
        return ""


@runtime_checkable
class Attack(Protocol):
    """``attack(classifier, x, y, seed)`` proposes one input for each sample, of the shape and dtype of x.

    The proposal may lie outside the threat (minimal-norm attacks) and may be classified correctly: the evaluator
    projects it, measures it and runs the model on it itself.
    """

    @property
    def name(self) -> str:
        """A short name for tables."""
        ...

    @property
    def needs(self) -> Needs:
        """What it asks and gives, as data."""
        ...

    def settings(self) -> dict[str, Any]:
        """Every setting, as JSON can hold it."""
        ...

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Propose adversarial inputs."""
        ...
