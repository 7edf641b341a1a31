"""Gaussian noise on the inputs: the oldest rule of smoothness."""

import math
from dataclasses import KW_ONLY, dataclass

from torch import Tensor, nn

from holomorph._utils.seeding import normal
from holomorph.errors import ConfigError
from holomorph.rules.base import Cost, Rule
from holomorph.threats import ThreatModel


@dataclass
class GaussianNoise(Rule):
    r"""Risk at noisy points: $\mathbb{E}\,\ell(x + \sigma\xi)$, ξ standard normal.

    To second order it adds $\sigma^2\Delta\ell/2$ to the risk. Noisy points are not clipped to the box.

    Parameters
    ----------
    threat:
        Gives σ where it is not stated: eps for l_inf and l_2; $\varepsilon/\sqrt{n}$ for l_1.
    sigma:
        Standard deviation in input units.

    Source: Bishop 1995 (noise as regularisation); Cohen et al. 2019 (σ of the order of the l_2 radius).

    Examples
    --------
    >>> import torch
    >>> rule = GaussianNoise(ThreatModel(2, 0.5))
    >>> rule(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "noise"

    threat: ThreatModel
    _: KW_ONLY
    sigma: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma is not None and not self.sigma >= 0:
            raise ConfigError(f"sigma is {self.sigma}; it must not be negative.")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk at the noisy points."""
        sigma = self.sigma
        if sigma is None:
            sigma = self.threat.radius / (math.sqrt(x[0].numel()) if self.threat.norm == "1" else 1.0)
        noise = normal(x.shape, x, self.generator)
        return self.risk(model(x.detach() + sigma * noise), y).mean()

    @property
    def cost(self) -> Cost:
        """One forward and one backward pass."""
        return Cost(1, 1)
