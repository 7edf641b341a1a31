"""Tensors on their way to an accelerator, without a wait and from memory that it can read by itself."""

from typing import Any

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Move a tensor; from the host to an accelerator through page-locked memory, so that nobody waits for the copy.

    >>> to_device(torch.ones(2), torch.device("cpu"))
    tensor([1., 1.])
    """
    if values.device == device:
        return values
    if values.device.type == "cpu" and reads_pinned_memory(device) and not values.is_pinned():
        values = values.pin_memory()
    return values.to(device, non_blocking=values.device.type == "cpu")


def in_double(values: Tensor) -> Tensor:
    """The values in double precision: on the host, where their device has none.

    >>> in_double(torch.ones(1)).dtype
    torch.float64
    """
    try:
        return values.double()
    except TypeError:  # what devices without double precision say
        return values.cpu().double()


def has_doubles(device: torch.device) -> bool:
    """Whether the device computes in double precision.

    >>> has_doubles(torch.device("cpu"))
    True
    """
    try:
        torch.zeros((), dtype=torch.float64, device=device)
    except TypeError:
        return False
    return True


def reads_pinned_memory(device: torch.device) -> bool:
    """Whether copies from page-locked memory overlap with the device's work.

    >>> reads_pinned_memory(torch.device("cpu"))
    False
    """
    if device.type in ("cpu", "mps") or not torch.accelerator.is_available():
        return False
    accelerator = torch.accelerator.current_accelerator()
    return accelerator is not None and accelerator.type == device.type


class Later:
    """A few numbers on their way from a device to the host, which goes on meanwhile.

    >>> numbers = Later(torch.tensor([1.0, 2.0]))
    >>> numbers.arrived, numbers.read()
    (True, [1.0, 2.0])
    """

    def __init__(self, values: Tensor) -> None:
        self._values, self._event = values.detach(), _event(values.device)
        if self._event is not None:
            self._values = self._values.to("cpu", non_blocking=True)
            self._event.record()

    @property
    def arrived(self) -> bool:
        """Whether reading waits for nobody; devices that cannot tell are waited for."""
        return self._event is None or bool(self._event.query())

    def read(self) -> list[float]:
        """Return the numbers, after waiting for them if they have not arrived."""
        if self._event is not None and not self._event.query():
            self._event.synchronize()
        found: list[float] = self._values.tolist()
        return found


def _event(device: torch.device) -> Any:
    """A mark in the device's queue, on devices that have them."""
    if device.type == "cpu":
        return None
    kind = getattr(torch.get_device_module(device), "Event", None)
    return None if kind is None else kind()
