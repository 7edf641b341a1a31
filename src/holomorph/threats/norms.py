"""Norms, their duals and balls, one vector a sample: every function sees (batch, ...) as (batch, n)."""

import math

import torch
from torch import Tensor


def per_sample(v: Tensor, like: Tensor) -> Tensor:
    """Reshape one number a sample, (batch,), so that it broadcasts against ``like``."""
    return v.reshape(-1, *(1,) * (like.ndim - 1))


def norm(v: Tensor, p: float) -> Tensor:
    r"""$\|v\|_p$ of each sample; shape (batch,). Its derivative at zero is zero, not NaN.

    >>> norm(torch.tensor([[3.0, 4.0]]), 2.0)
    tensor([5.])
    """
    flat = v.flatten(1)
    if p == 1:
        return flat.abs().sum(1)
    if p == math.inf:
        return flat.abs().amax(1)
    size = _size(flat)
    flat = flat / size[:, None]
    square = (flat.real.square() + flat.imag.square() if flat.is_complex() else flat.square()).sum(1)
    safe = torch.where(square == 0, torch.ones_like(square), square)
    return torch.where(square == 0, torch.zeros_like(square), safe.sqrt()) * size


def _size(flat: Tensor) -> Tensor:
    """A power of two near each row's largest modulus, without a graph; divided by it, exactly, no square overflows."""
    largest = flat.detach().abs().amax(1)
    usual = (largest > 0) & largest.isfinite()
    return torch.where(usual, largest / (2 * torch.frexp(largest).mantissa), torch.ones_like(largest))


def dual_direction(g: Tensor, p: float) -> Tensor:
    r"""The unit vector of the p-norm along which a linear function with gradient g grows fastest.

    $$s = \arg\max_{\|s\|_p \le 1} \langle g, s\rangle, \qquad \langle g, s\rangle = \|g\|_q$$

    The sign for p = inf, g/|g| for p = 2, the largest coordinate for p = 1; zero where g is zero.

    >>> dual_direction(torch.tensor([[3.0, -4.0]]), 1.0)
    tensor([[ 0., -1.]])
    """
    if p == math.inf:
        return g.sign()
    flat = g.flatten(1)
    if p == 1:
        index = flat.abs().argmax(1, keepdim=True)
        return torch.zeros_like(flat).scatter(1, index, flat.gather(1, index).sign()).reshape(g.shape)
    flat = flat / _size(flat)[:, None]
    length = flat.norm(dim=1, keepdim=True)  # 0, or at least 1
    return (flat / length.clamp_min(1)).reshape(g.shape)


def random_in_ball(x: Tensor, p: float, radius: float, generator: torch.Generator) -> Tensor:
    """Points uniform in the p-ball of the radius around zero, one for each sample of ``x``."""
    if p == math.inf:
        u = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=generator.device)
        return ((2 * u - 1) * radius).to(x.device)
    # Barthe et al. 2005: coordinates of density exp(-|t|^p) and one exponential variable divide out to uniform.
    n = x[0].numel()
    shape = (len(x), n)
    if p == 2:
        g = torch.randn(shape, generator=generator, dtype=x.dtype, device=generator.device)
        u = torch.rand(len(x), 1, generator=generator, dtype=x.dtype, device=generator.device)
        d = g / g.norm(dim=1, keepdim=True) * u.pow(1 / n)
    else:
        e = torch.empty(len(x), n + 1, dtype=x.dtype, device=generator.device).exponential_(generator=generator)
        sign = torch.randint(0, 2, shape, generator=generator, device=generator.device).to(x.dtype) * 2 - 1
        d = sign * e[:, :n] / e.sum(1, keepdim=True)
    return (d * radius).reshape(x.shape).to(x.device)


def project(d: Tensor, p: float, radius: float) -> Tensor:
    """The nearest point (in the Euclidean norm) of the p-ball around zero, sample by sample.

    >>> project(torch.tensor([[3.0, 4.0]]), 2.0, 1.0)
    tensor([[0.6000, 0.8000]])
    """
    if p == math.inf:
        return d.clamp(-radius, radius)
    if p == 2:
        return d * per_sample((radius / norm(d, 2.0).clamp_min(1e-30)).clamp(max=1.0), d)
    magnitude = d.flatten(1).abs()
    ordered = magnitude.sort(dim=1, descending=True).values
    excess = ordered.cumsum(1) - radius
    count = torch.arange(1, magnitude.shape[1] + 1, device=d.device, dtype=d.dtype)
    active = (ordered * count > excess).sum(1, keepdim=True).clamp_min(1)
    shrink = (excess.gather(1, active - 1) / active).clamp_min(0)
    return ((magnitude - shrink).clamp_min(0) * d.flatten(1).sign()).reshape(d.shape)
