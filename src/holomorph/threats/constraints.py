"""Where adversarial inputs may lie: a threat's ball and box, or a box and a scale for each feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import PrivateAttr
from torch import Tensor

from holomorph.threats.model import ThreatModel
from holomorph.threats.norms import project

if TYPE_CHECKING:
    from holomorph.threats.features import Features


class FeatureThreat(ThreatModel):
    """A threat with walls of its own for each feature, some features frozen; its box is the hull of the walls.

    It is made by :meth:`holomorph.threats.features.Features.threat`, and counts in the units of the features.

    >>> from holomorph.threats.features import Features
    >>> features = Features(torch.tensor([1.0, 0.0]), torch.zeros(2), torch.tensor([3.0, 1.0]))
    >>> into(torch.tensor([[2.5, 0.5]]), torch.tensor([[9.0, 0.0]]), features.threat("inf:1"))
    tensor([[3.0000, 0.5000]])
    """

    _features: Features = PrivateAttr()

    @classmethod
    def of(cls, threat: ThreatModel, features: Features) -> FeatureThreat:
        """The threat's norm and eps between the walls of the features."""
        made = cls(norm=threat.norm, eps=threat.eps, box=features.hull)
        made._features = features
        return made

    @property
    def features(self) -> Features:
        """The unit, the range and the freedom of each feature."""
        return self._features

    def plain(self) -> ThreatModel:
        """The threat as a record holds it: norm, eps and hull."""
        return ThreatModel(self.norm, self.eps, self.box)


def box_of(threat: ThreatModel | None) -> tuple[float, float] | None:
    """The box that samples must lie in; None where there is none for all features alike."""
    return None if threat is None or isinstance(threat, FeatureThreat) else threat.box


def walls(threat: ThreatModel, like: Tensor) -> tuple[Tensor, Tensor]:
    """The lower and upper bound of every coordinate, to compare with ``like``."""
    if isinstance(threat, FeatureThreat):
        f = threat.features
        top = ((f.high - f.low) / f.unit).to(like)
        return torch.zeros_like(top), top
    low, high = threat.box
    return like.new_full((), low), like.new_full((), high)


def movable(v: Tensor, threat: ThreatModel) -> Tensor:
    """A direction without its part along frozen features."""
    return v * threat.features.free.to(v) if isinstance(threat, FeatureThreat) else v


def clip(x0: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """Move x between the walls, with the frozen features of x0."""
    if not isinstance(threat, FeatureThreat):
        return x.clamp(*threat.box)
    features = threat.features
    inside = torch.where(features.free.to(x.device), x.clamp(*walls(threat, x)), x0)
    if features.direction is None:
        return inside
    way = features.rows.direction.reshape(features.eps.shape).to(x.device)
    return torch.where(way * (inside - x0) < 0, x0, inside)


def into(x0: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """Move x into the threat's ball around x0 and between the walls, with the frozen features of x0.

    Clipping to the walls never leaves the ball.
    """
    return clip(x0, x0 + project(movable(x - x0, threat), threat.p, threat.radius), threat)


def settle(x0: Tensor, x: Tensor, threat: ThreatModel, radius: float = torch.inf) -> Tensor:
    """Make possible rows of proposals, where rows of a table must be more than inside a ball and a box."""
    if not isinstance(threat, FeatureThreat) or not threat.features.constrained:
        return x
    return threat.features.settle(x0, x, threat.p, radius)


def resized(threat: ThreatModel, radius: float) -> ThreatModel:
    """The same threat with another radius, which in l_inf need not exceed the box."""
    low, high = threat.box
    return threat.model_copy(update={"eps": min(radius, high - low) if threat.norm == "inf" else radius})
