"""Where adversarial inputs may lie: a threat's ball and box, or a box and a scale for each feature."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import PrivateAttr
from torch import Tensor

from holomorph.threats.model import ThreatModel
from holomorph.threats.norms import project


class FeatureThreat(ThreatModel):
    """A threat with walls of its own for each feature, some features frozen; its box is the hull of the walls.

    >>> low, high = torch.zeros(2), torch.tensor([3.0, 1.0])
    >>> threat = FeatureThreat.within(ThreatModel("inf", 1), low, high, free=torch.tensor([True, False]))
    >>> into(torch.tensor([[2.5, 0.5]]), torch.tensor([[9.0, 0.0]]), threat)
    tensor([[3.0000, 0.5000]])
    """

    _low: Tensor = PrivateAttr()
    _high: Tensor = PrivateAttr()
    _free: Tensor = PrivateAttr()
    _direction: Tensor | None = PrivateAttr(default=None)
    _settle: Callable[[Tensor, Tensor, float], Tensor] | None = PrivateAttr(default=None)

    @classmethod
    def within(
        cls,
        threat: ThreatModel,
        low: Tensor,
        high: Tensor,
        free: Tensor,
        *,
        direction: Tensor | None = None,
        settle: Callable[[Tensor, Tensor, float], Tensor] | None = None,
    ) -> FeatureThreat:
        """The threat's norm and eps between these walls, each of the shape of a sample.

        ``direction`` is 1 where a feature may only rise and -1 where it may only fall; ``settle`` makes of a sample, a
        proposal and a radius a proposal that is a possible row of a table.
        """
        made = cls(norm=threat.norm, eps=threat.eps, box=(float(low[free].min()), float(high[free].max())))
        made._low, made._high, made._free = low, high, free
        made._direction, made._settle = direction, settle
        return made

    def plain(self) -> ThreatModel:
        """The threat as a record holds it: norm, eps and hull."""
        return ThreatModel(self.norm, self.eps, self.box)


def walls(threat: ThreatModel, like: Tensor) -> tuple[Tensor, Tensor]:
    """The lower and upper bound of every coordinate, to compare with ``like``."""
    if isinstance(threat, FeatureThreat):
        return threat._low.to(like), threat._high.to(like)
    low, high = threat.box
    return like.new_full((), low), like.new_full((), high)


def movable(v: Tensor, threat: ThreatModel) -> Tensor:
    """A direction without its part along frozen features."""
    return v * threat._free.to(v) if isinstance(threat, FeatureThreat) else v


def clip(x0: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """Move x between the walls, with the frozen features of x0."""
    if not isinstance(threat, FeatureThreat):
        return x.clamp(*threat.box)
    inside = torch.where(threat._free.to(x.device), x.clamp(*walls(threat, x)), x0)
    if threat._direction is None:
        return inside
    way = threat._direction.to(x.device)
    return torch.where(way * (inside - x0) < 0, x0, inside)


def into(x0: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """Move x into the threat's ball around x0 and between the walls, with the frozen features of x0.

    Clipping to the walls never leaves the ball.
    """
    return clip(x0, x0 + project(movable(x - x0, threat), threat.p, threat.radius), threat)


def settle(x0: Tensor, x: Tensor, threat: ThreatModel, radius: float = torch.inf) -> Tensor:
    """Make possible rows of proposals, where rows of a table must be more than inside a ball and a box."""
    if not isinstance(threat, FeatureThreat) or threat._settle is None:
        return x
    return threat._settle(x0, x, radius)


def resized(threat: ThreatModel, radius: float) -> ThreatModel:
    """The same threat with another radius, which in l_inf need not exceed the box."""
    low, high = threat.box
    return threat.model_copy(update={"eps": min(radius, high - low) if threat.norm == "inf" else radius})
