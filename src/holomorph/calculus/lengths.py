r"""Norms, distances and deviations whose slope at 0 is 0 in every order and nesting, as the first of torch's is.

Torch's second derivatives there are NaN, so that a row of zeros behind a ReLU spoils a whole gradient, and in nested
forward mode it has none. A function returns NotImplemented for what is left to torch.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def vector_norm(
    x: Tensor, ord: float = 2.0, dim: int | Sequence[int] | None = None, keepdim: bool = False, **others: Any
) -> Tensor:
    """``torch.linalg.vector_norm``, of numbers of any size: they are divided by the largest."""
    if _more(others) or not x.numel():
        return NotImplemented
    axes = list(range(x.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    sizes = x.abs()
    if abs(ord) == math.inf:
        return sizes.amax(axes, keepdim) if ord > 0 else sizes.amin(axes, keepdim)
    if ord in (0, 1):
        return (sizes if ord else sizes.ne(0).to(sizes.dtype)).sum(axes, keepdim)
    largest = sizes.detach().amax(axes, keepdim=True)
    largest = largest.masked_fill((largest == 0) | largest.isinf(), 1.0)
    smooth = ord == 2 and not x.is_complex()  # the square of the modulus is right at 0 to first order only
    total = ((x / largest).square() if smooth else (sizes / largest).pow(ord)).sum(axes, keepdim)
    return _root(total, ord) * (largest if keepdim else largest.squeeze(axes))


def matrix_norm(
    A: Tensor, ord: float | str = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, **others: Any
) -> Tensor:
    """``torch.linalg.matrix_norm``."""
    return vector_norm(A, 2, dim, keepdim, **others) if ord == "fro" else NotImplemented


def any_norm(
    input: Tensor, p: float | str | None = None, dim: Any = None, keepdim: bool = False, **others: Any
) -> Tensor:
    """``torch.norm``."""
    if p == "nuc":
        return NotImplemented
    return vector_norm(input, 2.0 if p in ("fro", None) else float(p), dim, keepdim, **others)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, **others: Any) -> Tensor:
    """``torch.nn.functional.normalize``."""
    return NotImplemented if _more(others) else input / vector_norm(input, p, dim, True).clamp_min(eps)


def std(*args: Any, **kwargs: Any) -> Tensor:
    """``torch.std``."""
    return _root(torch.var(*args, **kwargs), 2)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """``torch.nn.functional.pairwise_distance``."""
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """``torch.nn.functional.cosine_similarity``."""
    return (normalize(x1, 2.0, dim, eps) * normalize(x2, 2.0, dim, eps)).sum(dim)


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """``torch.renorm``."""
    sizes = vector_norm(input, p, [d for d in range(input.ndim) if d != dim % input.ndim], True)
    return input * torch.where(sizes > maxnorm, maxnorm / (sizes + 1e-7), 1.0)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """``torch.cdist``, which torch differentiates once only."""
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def _more(others: dict[str, Any]) -> bool:
    """Whether something is asked for that torch has to do: another type, a place for the result."""
    return any(value is not None for value in others.values())


def _root(total: Tensor, p: float) -> Tensor:
    none = total == 0
    return total.masked_fill(none, 1.0).pow(1 / p).masked_fill(none, 0.0)


#: By the names of torch's functions.
LENGTHS: dict[str, Callable[..., Any]] = {
    "linalg_vector_norm": vector_norm,
    "linalg_matrix_norm": matrix_norm,
    "linalg_norm": lambda A, ord=None, dim=None, keepdim=False, **others: (
        any_norm(A, ord, dim, keepdim, **others) if ord is None or isinstance(dim, int) else NotImplemented
    ),
    "norm": any_norm,
    "normalize": normalize,
    "std": std,
    "pairwise_distance": pairwise_distance,
    "cosine_similarity": cosine_similarity,
    "renorm": renorm,
    "cdist": cdist,
    "dist": lambda input, other, p=2.0: vector_norm(input - other, p),
}
