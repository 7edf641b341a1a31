"""What an attack is to the evaluator: a callable that proposes adversarial inputs and is never believed."""

from __future__ import annotations

import importlib.metadata
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from holomorph.contract.classifier import Classifier

#: Whether an attack reads gradients.
Access = Literal["white box", "black box"]


@runtime_checkable
class Attack(Protocol):
    """``attack(classifier, x, y, seed)`` proposes one input for each sample, of the shape and dtype of x.

    The proposal may lie outside the threat (minimal-norm attacks) and may be right: the evaluator projects it,
    measures it and runs the model on it itself.
    """

    @property
    def name(self) -> str:
        """A short name for tables."""
        ...

    @property
    def package(self) -> str:
        """Who wrote it, with the version."""
        ...

    @property
    def access(self) -> Access:
        """White or black box."""
        ...

    @property
    def everyone(self) -> bool:
        """Whether it runs on every sample, for the curve, or only on survivors."""
        ...

    def settings(self) -> dict[str, Any]:
        """Every setting, as JSON can hold it."""
        ...

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Propose adversarial inputs."""
        ...


class Ours:
    """An attack of this package, and so of its version."""

    @property
    def package(self) -> str:
        """Our own package with its version."""
        return f"holomorph {importlib.metadata.version('holomorph')}"
