"""The boundary on the way to the far corner of the box: where a tangent misses the box although it does not."""

from __future__ import annotations

import torch
from torch import Tensor

from holomorph.calculus.norms import norm, per_sample
from holomorph.contract import Differentiable
from holomorph.threats import ThreatModel

_HALVINGS = 20


def crossing(
    model: Differentiable, x: Tensor, y: Tensor, slope: Tensor, threat: ThreatModel
) -> tuple[Tensor, Tensor, Tensor]:
    """Whether the prediction at the corner down the slope is another one, the point where it changes, its distance.

    >>> model = torch.nn.Linear(2, 2)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    >>> _ = model.bias.data.copy_(torch.tensor([-0.5, 0.0]))
    >>> threat = ThreatModel("inf", 0.1)
    >>> crossing(model, torch.full((1, 2), 0.5), torch.tensor([0]), torch.ones(1, 2), threat)[2]
    tensor([0.2500])
    """
    low, high = threat.box
    inside, outside = x, torch.where(slope > 0, low, torch.where(slope < 0, high, x)).to(x)
    with torch.no_grad():
        crosses = model(outside).argmax(1) != y
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            changed = per_sample(model(middle).argmax(1) != y, x)
            inside, outside = torch.where(changed, inside, middle), torch.where(changed, middle, outside)
    return crosses, outside, norm(outside - x, threat.p)
