"""The boundary on the way to far points of the box: where a tangent misses the box although the boundary does not."""

import torch
from torch import Tensor

from holomorph.calculus.norms import norm, per_sample
from holomorph.contract import Differentiable
from holomorph.threats import ThreatModel

_HALVINGS = 20
#: Points drawn in the box, the same for all samples.
_DRAWS = 64


def crossing(
    model: Differentiable, x: Tensor, y: Tensor, slope: Tensor, threat: ThreatModel
) -> tuple[Tensor, Tensor, Tensor]:
    """Whether a far point has another prediction, where on the way to the nearest such point it changes, the distance.

    Looked at are the corner of the box down the slope, which is what high dimension needs, and for low dimension 64
    points drawn in the box with the corners nearest to them.

    >>> model = torch.nn.Linear(2, 2)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    >>> _ = model.bias.data.copy_(torch.tensor([-0.5, 0.0]))
    >>> threat = ThreatModel("inf", 0.1)
    >>> x, y = torch.tensor([[0.9, 0.9]]), torch.tensor([0])
    >>> bool(crossing(model, x, y, torch.ones(1, 2), threat)[0])
    True
    """
    low, high = threat.box
    with torch.no_grad():
        inside, outside = x, torch.where(slope > 0, low, torch.where(slope < 0, high, x)).to(x)
        crosses = model(outside).argmax(1) != y
        length = norm(outside - x, threat.p).masked_fill(~crosses, torch.inf)
        unit = torch.rand(_DRAWS, *x.shape[1:], generator=torch.Generator().manual_seed(0), dtype=x.dtype).to(x.device)
        drawn = low + (high - low) * torch.cat([unit, unit.round()])
        for point, answer in zip(drawn, model(drawn).argmax(1), strict=True):
            away = norm(point - x, threat.p)
            nearer = (answer != y) & (away < length)
            outside, length = torch.where(per_sample(nearer, x), point, outside), torch.where(nearer, away, length)
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            changed = per_sample(model(middle).argmax(1) != y, x)
            inside, outside = torch.where(changed, inside, middle), torch.where(changed, middle, outside)
    return length < torch.inf, outside, norm(outside - x, threat.p)
