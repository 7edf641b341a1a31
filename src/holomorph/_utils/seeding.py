"""One seed, many generators: each is named by its purpose, so a draw added in one place changes nothing elsewhere."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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


def random_states(device: torch.device) -> tuple[Tensor, ...]:
    """Return the states of the global streams that operations on the device draw from, as tensors of the host.

    >>> len(random_states(torch.device("cpu")))
    1
    """
    host = torch.get_rng_state()
    return (host,) if device.type == "cpu" else (host, torch.get_device_module(device).get_rng_state(*_which(device)))


def set_random_states(states: Sequence[Tensor], device: torch.device) -> None:
    """Let the global streams go on from what :func:`random_states` returned."""
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.get_device_module(device).set_rng_state(state, *_which(device))


@contextmanager
def replaying(states: Sequence[Tensor], device: torch.device) -> Iterator[None]:
    """Draw what was drawn after those states; afterwards the streams go on as if nothing had been drawn."""
    own = random_states(device)
    set_random_states(states, device)
    try:
        yield
    finally:
        set_random_states(own, device)


def _which(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)  # Apple's have one device, and functions without a choice
