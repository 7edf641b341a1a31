"""Norms, their duals and balls, and the largest first-order increase inside a threat."""

import math

from torch import Tensor

from holomorph.errors import ConfigError
from holomorph.threats import ThreatModel
from holomorph.threats.norms import dual_direction, norm, per_sample, project, random_in_ball

__all__ = ["dual_direction", "dual_gain", "noise_length", "norm", "per_sample", "project", "random_in_ball"]


def dual_gain(g: Tensor, x: Tensor, threat: ThreatModel, *, box_aware: bool = False) -> Tensor:
    r"""The largest first-order increase $\max_\delta \langle g, \delta\rangle$ over the threat; shape (batch,).

    Without the box this is $\varepsilon\|g\|_q$. With it (l_inf only),
    $\sum_j g_j^+ \min(\varepsilon, \mathrm{hi}-x_j) + g_j^- \min(\varepsilon, x_j-\mathrm{lo})$.

    Source: docs/mathematics.md, section 1.

    >>> import torch
    >>> threat = ThreatModel("inf", 0.1)
    >>> g, x = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.5]])
    >>> dual_gain(g, x, threat), dual_gain(g, x, threat, box_aware=True)
    (tensor([0.3000]), tensor([0.1000]))
    """
    eps = threat.radius
    if not box_aware:
        return eps * norm(g, threat.q)
    if threat.norm != "inf":
        raise ConfigError("The box-aware norm is defined for l_inf threats only. Drop box_aware for this norm.")
    low, high = threat.box
    up, down = (high - x).clamp(0, eps), (x - low).clamp(0, eps)
    return (g.clamp_min(0) * up - g.clamp_max(0) * down).flatten(1).sum(1)


def noise_length(x: Tensor, threat: ThreatModel) -> float:
    r"""The root mean square of $|u|_2$ for u uniform in the threat's ball, for l_2 up to $\sqrt{n/(n+2)}$.

    That is $\varepsilon\sqrt{n/3}$, $\varepsilon$ and $\varepsilon\sqrt{2n/((n+1)(n+2))}$ for l_inf, l_2 and l_1.

    >>> import torch
    >>> noise_length(torch.zeros(1, 300), ThreatModel("inf", 0.1))
    1.0
    """
    n = x[0].numel()
    shares = {"inf": math.sqrt(n / 3), "2": 1.0, "1": math.sqrt(2 * n / ((n + 1) * (n + 2)))}
    return threat.radius * shares[threat.norm]
