"""A model of samples in the units of their features."""

import torch
from torch import Tensor, nn

from holomorph._utils.fingerprint import model_digest
from holomorph.contract.model import Differentiable
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import FeatureThreat, clip
from holomorph.threats.features import Features


def within(model: Differentiable, x: Tensor, threat: ThreatModel | None) -> tuple[Differentiable, Tensor]:
    """A model and samples in the units of a per-feature threat; as they are under any other threat.

    Raises
    ------
    DataError
        For samples that are no possible rows.
    """
    if not isinstance(threat, FeatureThreat):
        return model, x
    threat.features.check(x)
    start = threat.features.encode(x).to(x.dtype)
    return InUnits(model, threat.features, x.dtype, (threat, start)), start


class InUnits(nn.Module):
    """A model of samples in units: frozen features give no gradient, and what rounding puts past a wall comes back.

    With ``around``, a threat and the samples, it sees no point that leaves their walls, moves a frozen feature or moves
    one the wrong way, whatever a rule asks it.
    """

    def __init__(
        self,
        model: Differentiable,
        features: Features,
        dtype: torch.dtype,
        around: tuple[FeatureThreat, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.features = features
        self.dtype = dtype
        self.around = around
        self.differentiable = getattr(model, "differentiable", True)

    def forward(self, u: Tensor) -> Tensor:
        """Return the model's outputs."""
        f = self.features
        if self.around is not None and len(u) == len(self.around[1]):  # a part of the batch is kept inside by its rule
            u = clip(self.around[1], u, self.around[0])
        x = f.decode(torch.where(f.free.to(u.device), u, u.detach()))
        inside = x.detach().clamp(f.low.to(x.device), f.high.to(x.device))
        return self.model((x + (inside - x.detach())).to(self.dtype))

    def extra_repr(self) -> str:
        """Say which units, and of which model: kept batches must not be mixed."""
        f = self.features
        return f"{model_digest(self.model)}, {f.record()}"
