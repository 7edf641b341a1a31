"""A pretend accelerator for machines that have none: it refuses what a GPU refuses and counts what makes one wait.

Its tensors say that they lie on another device and hold their values on the CPU. Operations run there once the rules
of CUDA were kept: no operands on two devices, but for scalars; generators of the tensors' own device; for devices like
MPS no double precision. What would make the host wait for the device is counted by the line of code that asked for
it, and so are copies from pageable memory. The device borrows the type "lazy", which nothing else uses here.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from unittest import mock

import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators.cpu import CPUAccelerator
from lightning_fabric.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

TYPE = "lazy"
DEVICE = torch.device(TYPE, 0)

#: Operations after which CUDA's host code reads a result: they return sizes or numbers that depend on the values.
WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal",
    "bincount", "multinomial", "histc", "repeat_interleave", "_linalg_check_errors", "_linalg_eigh", "_linalg_svd",
}  # fmt: skip

#: Operations that take tensors of two devices.
CROSSING = {"_to_copy", "copy_", "set_", "lift_fresh"}

#: Operations that take indices from the host, at the price of a copy.
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}

#: Operations that take no scalar from the host either.
STRICT = {"cat", "stack", "linear", "mm", "addmm", "gather", "scatter", "index_select"}

_SOURCE = str(Path(__file__).parents[2] / "src" / "holomorph")
_OWN = (__file__, str(Path(torch.__file__).parent))


class Held(Tensor):
    """A tensor of the pretend device; ``held`` are its values."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl
    __module__ = "torch"  # libraries tell by this name whose tensor it is

    @staticmethod
    def __new__(cls, held: Tensor) -> Held:
        own = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE,
        )  # fmt: skip
        own.held = held
        return own

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return PretendDevice.current.run(operation, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"Held({self.held}, device={DEVICE})"

    def tolist(self) -> Any:
        PretendDevice.current.waits[f"tolist @ {place()}"] += 1
        return self.held.tolist()

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() first.")


class _Kind(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _HOST_GENERATOR)


_HOST_GENERATOR = torch.Generator


class DeviceGenerator(_HOST_GENERATOR):
    """A generator of the pretend device."""

    device = DEVICE


class Generator(metaclass=_Kind):
    """Stands for ``torch.Generator`` while the device is there: makes the kind that the device asks for."""

    def __new__(cls, device: Any = "cpu") -> torch.Generator:  # type: ignore[misc]
        return DeviceGenerator() if torch.device(device).type == TYPE else _HOST_GENERATOR(device)


class PretendAccelerator(CPUAccelerator):
    """The pretend device as the training engine sees it: one, always there."""

    def setup_device(self, device: torch.device) -> None:
        """Nothing is to be set up."""

    @staticmethod
    def name() -> str:
        return TYPE


def pretend_fabric() -> Fabric:
    """An engine on the pretend device."""
    return Fabric(strategy=SingleDeviceStrategy(DEVICE, accelerator=PretendAccelerator()), devices=1)


class Event:
    """A mark in the device's queue, which is always empty."""

    def record(self) -> None:
        """Nothing is queued."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        PretendDevice.current.waits[f"an event @ {place()}"] += 1


class PretendDevice:
    """The device while it is there: ``waits`` and ``copies`` count by place in the code.

    ``doubles``: whether it has double precision.
    """

    current: PretendDevice
    Event = Event

    def __init__(self, doubles: bool = True) -> None:
        self.device = DEVICE
        self.doubles = doubles
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self._pinned: set[int] = set()
        self._stream = _HOST_GENERATOR().manual_seed(0)
        self._stack = ExitStack()

    def put(self, thing: Any) -> Any:
        """Move tensors (in any nesting) or a module to the device, uncounted."""
        with self._uncounted():
            if isinstance(thing, torch.nn.Module):
                return thing.to(DEVICE)
            return tree_map(lambda t: t.to(DEVICE) if isinstance(t, Tensor) else t, thing)

    def reset(self) -> None:
        """Count anew."""
        self.waits.clear()
        self.copies.clear()

    def __enter__(self) -> Self:
        PretendDevice.current = self
        swaps = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)
        self._stack.callback(torch.__future__.set_swap_module_params_on_conversion, swaps)
        torch._C._set_only_lift_cpu_tensors(True)
        self._stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        for target, name, value in (
            (torch, "Generator", Generator),
            (torch, TYPE, self),
            (torch, "manual_seed", self._seed_all),
            (torch.accelerator, "is_available", lambda: True),
            (torch.accelerator, "current_accelerator", lambda *_, **__: torch.device(TYPE)),
        ):
            self._stack.enter_context(mock.patch.object(target, name, value, create=name == TYPE))
        self._stack.enter_context(_Functions(self))
        self._stack.enter_context(_Operations(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # what ``torch.get_device_module`` is asked for
    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def get_rng_state(self, device: Any = None) -> Tensor:
        return self._stream.get_state()

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        self._stream.set_state(state)

    def manual_seed_all(self, seed: int) -> None:
        self._stream.manual_seed(seed)

    def _seed_all(self, seed: int) -> torch.Generator:
        self.manual_seed_all(seed)
        return torch.random.manual_seed(seed)

    def run(self, operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Carry an operation out as a device would."""
        name = operation._schema.name.partition("::")[2]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        ours = [t for t in tensors if isinstance(t, Held)]
        target = kwargs.get("device")
        here = bool(ours) if target is None else torch.device(target).type == TYPE
        if not ours and not here:
            return operation(*args, **kwargs)
        self._check(name, tensors, args)
        self._count(name, args, kwargs, here)
        plain, named = tree_map(_values, (args, kwargs))
        if target is not None:
            named["device"] = torch.device("cpu") if here else target
        named.pop("pin_memory", None)
        if name == "_efficientzerotensor":  # zeros without memory, which forward mode makes and others cannot read
            operation = torch.ops.aten.zeros.default
        with self._random(operation, named):
            out = operation(*plain, **named)
        if operation._schema.is_mutable:
            known = {id(t.held): t for t in ours}
            return tree_map(lambda t: known.get(id(t), t) if isinstance(t, Tensor) else t, out)
        return tree_map(lambda t: self._hold(t) if isinstance(t, Tensor) else t, out) if here else out

    def _hold(self, values: Tensor) -> Held:
        if not self.doubles and values.dtype in (torch.float64, torch.complex128):
            raise TypeError(f"Cannot make a tensor of {values.dtype} on {DEVICE}: the device has no double precision.")
        return Held(values)

    def _check(self, name: str, tensors: list[Tensor], args: Any) -> None:
        if name in CROSSING or name in INDEXING:
            strangers = name in INDEXING and not isinstance(args[0], Held)
        else:
            ours = any(isinstance(t, Held) for t in tensors)
            strangers = ours and any(not isinstance(t, Held) and (t.ndim > 0 or name in STRICT) for t in tensors)
        if strangers:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {DEVICE} and cpu! "
                f"({name} @ {place()})"
            )

    def _count(self, name: str, args: Any, kwargs: dict[str, Any], here: bool) -> None:
        if name in WAITING and any(isinstance(t, Held) for t in tree_leaves(args)):
            self.waits[f"{name} @ {place()}"] += 1
        if name in INDEXING:
            for index in args[1]:
                if index is not None and index.dtype == torch.bool:
                    self.waits[f"{name} by a mask @ {place()}"] += 1
                elif index is not None and not isinstance(index, Held):
                    self.copies[f"{name} by indices of the host @ {place()}"] += 1
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            target_here = isinstance(args[0], Held) if name == "copy_" else here
            if isinstance(source, Held) and not target_here and not kwargs.get("non_blocking"):
                self.waits[f"to the host {tuple(source.shape)} @ {place()}"] += 1
            elif target_here and not isinstance(source, Held) and id(source) not in self._pinned:
                self.copies[f"to the device {tuple(source.shape)} @ {place()}"] += 1

    @contextmanager
    def _random(self, operation: Any, named: dict[str, Any]) -> Iterator[None]:
        """Draw from the device's own stream where no generator is given."""
        if torch.Tag.nondeterministic_seeded not in operation.tags or named.get("generator") is not None:
            yield
            return
        host = torch.get_rng_state()
        torch.set_rng_state(self._stream.get_state())
        try:
            yield
        finally:
            self._stream.set_state(torch.get_rng_state())
            torch.set_rng_state(host)

    @contextmanager
    def _uncounted(self) -> Iterator[None]:
        waits, copies = self.waits.copy(), self.copies.copy()
        yield
        self.waits, self.copies = waits, copies

    def pin(self, tensor: Tensor) -> Tensor:
        """Page-lock a copy."""
        pinned = tensor.clone()
        self._pinned.add(id(pinned))
        pinned.pinned = self  # type: ignore[attr-defined]  # an object of its own for as long as the device asks
        return pinned


class _Operations(TorchDispatchMode):
    def __init__(self, device: PretendDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.device.run(operation, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Sees generators and pinned memory, which operations no longer know."""

    def __init__(self, device: PretendDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is Tensor.pin_memory:
            return self.device.pin(args[0])
        if function is Tensor.is_pinned:
            return id(args[0]) in self.device._pinned
        out = function(*args, **(kwargs or {}))
        generator = (kwargs or {}).get("generator")
        if isinstance(generator, torch.Generator) and isinstance(out, Tensor) and generator.device != out.device:
            raise RuntimeError(
                f"Expected a '{out.device.type}' device type for generator but found '{generator.device}'"
            )
        return out


def _values(thing: Any) -> Any:
    return thing.held if isinstance(thing, Held) else thing


def place() -> str:
    """The innermost line of the library that is being run, or else of the test."""
    frame, other = sys._getframe(1), "?"
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_SOURCE):
            return f"{name.removeprefix(_SOURCE + '/')}:{frame.f_lineno}"
        if other == "?" and not name.startswith(_OWN):
            other = f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return other
