"""Random displacements on the surface of a threat's ball, along which rules compare values of an observable."""

import torch
from torch import Tensor

from holomorph.threats import ThreatModel


def corner(x: Tensor, threat: ThreatModel, generator: torch.Generator) -> Tensor:
    r"""Random signs, scaled to the threat's radius: $\|v\|_p = \varepsilon$.

    $$v = \varepsilon n^{-1/p}(\pm1, \dots, \pm1)$$

    The coordinates are uncorrelated with variance $\varepsilon^2 n^{-2/p}$, so
    $\mathbb{E}\,v^\top H v = \varepsilon^2 n^{-2/p}\,\mathrm{tr}\,H$ with the variance of Hutchinson's estimator.

    Source: docs/mathematics.md, section 3; Hutchinson 1990.

    >>> v = corner(torch.zeros(1, 4), ThreatModel(2, 0.5), torch.Generator().manual_seed(0))
    >>> v.abs()
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    n = x[0].numel()
    signs = torch.randint(0, 2, x.shape, generator=generator, dtype=torch.int8, device=generator.device).to(x) * 2 - 1
    return signs * (threat.radius * n ** (-1 / threat.p))
