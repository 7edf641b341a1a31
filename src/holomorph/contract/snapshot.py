"""The model as it was before its first call: everything it may remember by is set back, and each call leaves nothing.

A model may keep what it has seen in attributes, buffers, closures, class attributes, mutable defaults or the globals
that its code names. All of these are found by walking from the model, noted, and put back as they were.
"""

import functools
import random
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holomorph._utils.seeding import random_states, replaying
from holomorph.contract.compiled import eagerly
from holomorph.contract.model import Differentiable, gradients

#: Packages whose code keeps nothing of what a model has seen; everything else is the user's.
_LIBRARIES = frozenset({"torch", "numpy", "scipy", "torchvision", "timm", "transformers", "builtins", "holomorph"})

#: Objects looked at; a model that holds more is noted as far as that.
_MOST = 100_000


class Snapshot:
    """What a model holds, to be put back later; nothing is copied but tensors and arrays.

    >>> def counting(seen):
    ...     return lambda x: seen.append(x) or x + len(seen)
    >>> model = counting([])
    >>> before = Snapshot(model)
    >>> float(model(torch.zeros(1))), float(model(torch.zeros(1)))
    (1.0, 2.0)
    >>> before.restore()
    >>> float(model(torch.zeros(1)))
    1.0
    """

    def __init__(self, model: Differentiable) -> None:
        self._tensors: list[tuple[Tensor, Tensor]] = []
        self._arrays: list[tuple[np.ndarray, np.ndarray]] = []
        self._containers: list[tuple[Any, Any]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._globals: list[tuple[dict[str, Any], str, Any]] = []
        self._names: list[tuple[Any, str, Any]] = []
        self._seen: dict[int, Any] = {}
        self._walk(model)

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back in place."""
        for cell, content in self._cells:
            if cell.cell_contents is not content:
                cell.cell_contents = content
        for names, name, value in self._globals:
            names[name] = value
        for owner, name, value in self._names:
            if _attribute(owner, name) is not value:
                setattr(owner, name, value)
        for container, content in self._containers:
            _refill(container, content)
        for tensor, content in self._tensors:
            if not torch.equal(tensor, content):
                tensor.copy_(content)
        for array, content in self._arrays:
            array[...] = content

    def _walk(self, model: object) -> None:
        todo = [model]
        while todo and len(self._seen) < _MOST:
            thing = todo.pop()
            if id(thing) not in self._seen and not isinstance(thing, str | bytes | int | float | complex | None):
                self._seen[id(thing)] = thing
                todo += list(self._note(thing))

    def _note(self, thing: Any) -> Iterator[Any]:
        """Note one object's own state, and yield what it leads to."""
        if isinstance(thing, Tensor):
            self._tensors.append((thing, thing.detach().clone()))
        elif isinstance(thing, np.ndarray):
            if thing.flags.writeable and thing.dtype != object:
                self._arrays.append((thing, thing.copy()))
        elif isinstance(thing, dict):
            self._containers.append((thing, dict(thing)))
            yield from thing.values()
        elif isinstance(thing, list | set | deque):
            self._containers.append((thing, type(thing)(thing)))
            yield from thing
        elif isinstance(thing, tuple | frozenset):
            yield from thing
        elif isinstance(thing, FunctionType):
            yield from self._function(thing)
        elif isinstance(thing, MethodType):
            yield from (thing.__func__, thing.__self__)
        elif isinstance(thing, functools.partial):
            yield from (thing.func, thing.args, thing.keywords)
        elif isinstance(thing, type):
            yield from self._class(thing)
        elif not isinstance(thing, ModuleType) and (isinstance(thing, nn.Module) or not _library(type(thing))):
            yield from type(thing).__mro__
            yield getattr(thing, "__dict__", None)

    def _function(self, function: FunctionType) -> Iterator[Any]:
        for cell in function.__closure__ or ():
            try:
                self._cells.append((cell, cell.cell_contents))
            except ValueError:  # not filled yet
                continue
            yield cell.cell_contents
        yield from (function.__defaults__, function.__kwdefaults__, function.__dict__)
        if _library(function):
            return
        names = _names(function.__code__)
        for name in names & function.__globals__.keys():
            value = function.__globals__[name]
            if not isinstance(value, ModuleType):
                self._globals.append((function.__globals__, name, value))
                yield value
            elif value.__name__.split(".")[0] not in _LIBRARIES | sys.stdlib_module_names:
                yield from self._named(value, names & vars(value).keys())

    def _class(self, kind: type) -> Iterator[Any]:
        if not _library(kind):
            names = {n for n, v in vars(kind).items() if not n.startswith("__") or isinstance(v, FunctionType)}
            yield from self._named(kind, {name for name in names if not isinstance(vars(kind)[name], property)})

    def _named(self, owner: Any, names: set[str]) -> Iterator[Any]:
        for name in names:
            value = _attribute(owner, name)
            if not isinstance(value, staticmethod | classmethod | FunctionType):
                self._names.append((owner, name, value))
            yield value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _attribute(owner: Any, name: str) -> Any:
    return vars(owner).get(name)


def _refill(container: Any, content: Any) -> None:
    mode = container.get("training") if isinstance(container, dict) else None  # a module's mode is the caller's
    container.clear()
    if isinstance(container, dict | set):
        container.update(content if mode is None else {**content, "training": mode})
    else:
        container.extend(content)


def _library(thing: Any) -> bool:
    root = str(getattr(thing, "__module__", "") or "").split(".")[0]
    return root in _LIBRARIES or root in sys.stdlib_module_names - {"__main__"}


def _names(code: CodeType) -> set[str]:
    """Every name that the code asks for, in nested functions too."""
    inner = [_names(const) for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*inner)


class Isolated(nn.Module):
    """A model every call of which starts from its first state, if given; with ``alone`` every sample is one call.

    >>> def counting(seen):
    ...     return lambda x: seen.append(x) or x + len(seen)
    >>> model = counting([])
    >>> forgetful = Isolated(model, Snapshot(model))
    >>> float(forgetful(torch.zeros(1))), float(forgetful(torch.zeros(1)))
    (1.0, 1.0)
    """

    def __init__(self, model: Differentiable, first: Snapshot | None, *, alone: bool = False) -> None:
        super().__init__()
        self.model = model
        self.alone = alone
        self.differentiable = getattr(model, "differentiable", True)
        self.training = bool(getattr(model, "training", False))
        self._first = first

    def forward(self, x: Tensor) -> Tensor:
        """Return the model's outputs."""
        if not self.alone or len(x) < 2:
            if self._first is not None:
                self._first.restore()
            return self.model(x)
        return torch.cat([self(x[k : k + 1]) for k in range(len(x))])


@contextmanager
def under_attack(model: Differentiable) -> Iterator[None]:
    """Put a model in evaluation mode with fixed parameters, and give every module its own state back.

    Attacks such as FAB call ``backward``: with the parameters fixed nothing is added to their gradients. Gradients can
    be taken inside, whatever the caller has switched off, and compiled modules run as they were written. The
    random states of torch, NumPy and Python are given back, since attack packages seed them.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    parameters = [p for module in modules for p in module.parameters(recurse=False)]
    modes = [module.training for module in modules]
    wanted = [p.requires_grad for p in parameters]
    states = random.getstate(), np.random.get_state()
    try:
        for module in modules:
            module.training = False
        for p in parameters:
            p.requires_grad_(False)
        device = parameters[0].device if parameters else torch.device("cpu")
        forked = torch.random.fork_rng(devices=_cuda_devices())
        with forked, replaying(random_states(device), device), gradients(), eagerly():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for p, want in zip(parameters, wanted, strict=True):
            p.requires_grad_(want)


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
