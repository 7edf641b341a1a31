"""An l_2 attack that starts on the other side: for narrow kernels, whose gradients at the sample lead nowhere.

From each of the nearest samples with another answer go back to the boundary by bisection, then walk along the boundary
towards the sample: at the shortest perturbation the gradient points to the sample, so the tangential part of the way
back is still to be gained.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

BISECTIONS = 8


def walk(model: nn.Module, x: Tensor, y: Tensor, pool: Tensor, starts: int = 3, steps: int = 15) -> Tensor:
    """Lengths (batch,) of the perturbations found; infinite where nothing in the pool has another answer."""
    with torch.no_grad():
        answers = model(pool).argmax(1)
    far = torch.cdist(x, pool).masked_fill(answers == y[:, None], math.inf)
    length, nearest = far.topk(starts, dim=1, largest=False)
    usable = length.flatten().isfinite()
    best = torch.full((len(x) * starts,), math.inf, dtype=x.dtype)
    home = x.repeat_interleave(starts, 0)[usable]
    label = y.repeat_interleave(starts)[usable]
    if len(home):
        best[usable] = _walked(model, home, label, pool[nearest.flatten()[usable]], steps)
    return best.reshape(len(x), starts).amin(1)


def _walked(model: nn.Module, home: Tensor, label: Tensor, point: Tensor, steps: int) -> Tensor:
    low, high = float(home.min()), float(home.max())
    point = _bisected(model, home, label, point)
    rate = torch.full((len(home), 1), 0.5, dtype=home.dtype)
    for _ in range(steps):
        normal = _normal(model, point, label)
        back = home - point
        tangential = back - (back * normal).sum(1, keepdim=True) * normal
        aim = point + rate * tangential
        aim = (home + 1.02 * (aim - home)).clamp(low, high)  # a little beyond: the boundary may bend away
        aim = _bisected(model, home, label, aim)
        better = ((aim - home).norm(dim=1) < back.norm(dim=1)) & _wrong(model, aim, label)
        point = torch.where(better[:, None], aim, point)
        rate = torch.where(better[:, None], (1.3 * rate).clamp(max=1.0), rate / 2)
    return torch.where(_wrong(model, point, label), (point - home).norm(dim=1), math.inf)


def _normal(model: nn.Module, point: Tensor, label: Tensor) -> Tensor:
    point = point.detach().requires_grad_()
    scores = model(point)
    own = scores.gather(1, label[:, None])[:, 0]
    margin = own - scores.scatter(1, label[:, None], -math.inf).amax(1)
    (slope,) = torch.autograd.grad(margin.sum(), point)
    return slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-300)


def _bisected(model: nn.Module, home: Tensor, label: Tensor, point: Tensor) -> Tensor:
    """The nearest wrong point found between home (right) and point; point itself where that is right."""
    right, wrong = home, point
    for _ in range(BISECTIONS):
        middle = (right + wrong) / 2
        bad = _wrong(model, middle, label)[:, None]
        right, wrong = torch.where(bad, right, middle), torch.where(bad, middle, wrong)
    return wrong


def _wrong(model: nn.Module, point: Tensor, label: Tensor) -> Tensor:
    with torch.no_grad():
        return model(point).argmax(1) != label
