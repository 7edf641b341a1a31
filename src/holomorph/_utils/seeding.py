"""One seed, many generators: each is named by its purpose, so a draw added in one place changes nothing elsewhere."""

from __future__ import annotations

import zlib

import torch


def seed_for(seed: int, purpose: str) -> int:
    """Derive the seed of one purpose from the run's seed.

    >>> seed_for(0, "shuffle") != seed_for(0, "model"), seed_for(0, "model") == seed_for(0, "model")
    (True, True)
    """
    return zlib.crc32(f"{seed}/{purpose}".encode())


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a generator for one purpose."""
    return torch.Generator(device).manual_seed(seed_for(seed, purpose))
