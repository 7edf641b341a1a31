"""One seed, many generators: each is named by its purpose, so a draw added in one place changes nothing elsewhere."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor


def seed_for(seed: int, purpose: str) -> int:
    """Derive the seed of one purpose from the run's seed.

    >>> seed_for(0, "shuffle") != seed_for(0, "model"), seed_for(0, "model") == seed_for(0, "model")
    (True, True)
    """
    return zlib.crc32(f"{seed}/{purpose}".encode())


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a generator for one purpose."""
    return torch.Generator(device).manual_seed(seed_for(seed, purpose))


def normal(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the tensor's kind, drawn where the generator is: no copy if the tensor is there, too.

    >>> normal((2,), torch.zeros(1, dtype=torch.float64), torch.Generator()).dtype
    torch.float64
    """
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)
