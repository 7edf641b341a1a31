"""Products and sums along an axis by operations on two, and powers whose exponent varies.

In torch 2.13 nested forward derivatives of cumprod are silently wrong where a factor is 0, and others of it and of prod
are NaN there; derivatives in the exponent of a power are lost where it is 0, or 1 the next time.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_FAR = 1e30  #: an exponent that counts for nothing, and unlike infinity has derivatives


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    """``torch.prod`` by halving."""
    rows = input.flatten() if dim is None or input.ndim == 0 else input.movedim(dim, -1)
    rows = rows if dtype is None else rows.to(dtype)
    while (n := rows.shape[-1]) > 1:
        rows = torch.cat([rows[..., : n // 2] * rows[..., n // 2 : n - n % 2], rows[..., n - n % 2 :]], -1)
    found = rows.squeeze(-1) if n else rows.sum(-1) + 1
    return found.unsqueeze(dim) if keepdim and dim is not None else found


def cumprod(input: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """``torch.cumprod`` by doubling."""
    rows, step = input if dtype is None else input.to(dtype), 1
    while step < rows.shape[dim]:
        later = rows.shape[dim] - step
        rows = torch.cat([rows.narrow(dim, 0, step), rows.narrow(dim, step, later) * rows.narrow(dim, 0, later)], dim)
        step *= 2
    return rows


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """``torch.logcumsumexp``, whose third derivatives are NaN in torch; memory grows with the square of the length."""
    rows = input.movedim(dim, -1)
    later = torch.ones(rows.shape[-1], rows.shape[-1], dtype=torch.bool, device=rows.device).triu(1)
    return rows[..., None, :].masked_fill(later, -_FAR).logsumexp(-1).movedim(-1, dim)


def power_of_tensors(input: Tensor, exponent: Tensor) -> Tensor:
    """``torch.pow`` of two tensors, by exponential and logarithm where the base is positive."""
    positive = input > 0
    smooth = torch.exp(exponent * torch.log(torch.where(positive, input, 1.0)))
    if bool(positive.all()):
        return smooth
    return torch.where(positive, smooth, torch.pow(input.masked_fill(positive, 1.0), exponent.detach()))


#: By the names of torch's functions.
CUMULATIVE: dict[str, Callable[..., Any]] = {"prod": prod, "cumprod": cumprod, "logcumsumexp": logcumsumexp}
