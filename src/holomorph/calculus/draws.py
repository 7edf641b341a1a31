"""Random numbers drawn once and met again: what several evaluations of one function need."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Draws:
    r"""The state of torch's random numbers, on the CPU and on the device of a tensor, to be met again.

    >>> draws = Draws(torch.zeros(1))
    >>> first = torch.rand(3)
    >>> with draws.again():
    ...     bool((torch.rand(3) == first).all())
    True
    """

    def __init__(self, like: Tensor) -> None:
        self._device = like.device
        self._state = self._read()

    def moved(self) -> bool:
        """Whether numbers were drawn since."""
        return any(not torch.equal(a, b) for a, b in zip(self._state, self._read(), strict=True))

    def rewind(self) -> None:
        """Let the same numbers come next."""
        self._write(self._state)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, the same numbers come once more; afterwards everything is as before."""
        outside = self._read()
        self.rewind()
        try:
            yield
        finally:
            self._write(outside)

    def _read(self) -> list[Tensor]:
        own = _generator_of(self._device)
        return [torch.get_rng_state(), *([] if own is None else [own.get_rng_state(self._device)])]

    def _write(self, state: list[Tensor]) -> None:
        torch.set_rng_state(state[0])
        if len(state) > 1:
            _generator_of(self._device).set_rng_state(state[1], self._device)


def _generator_of(device: torch.device) -> Any:
    """The module of an accelerator with its random numbers, None for the CPU."""
    if device.type in ("cpu", "meta"):
        return None
    module = torch.get_device_module(device)
    return module if hasattr(module, "get_rng_state") else None
