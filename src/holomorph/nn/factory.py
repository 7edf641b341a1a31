"""A user's own model, named as ``package.module:factory``: importing and calling it runs the user's code, as asked."""

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from holomorph.errors import ConfigError

#: By which names a factory may ask for the shape of a sample and the number of classes.
_SHAPE, _CLASSES = ("shape", "input_shape"), ("classes", "num_classes", "n_classes")


def from_factory(name: str, shape: Sequence[int], classes: int) -> nn.Module:
    """Import a factory and call it by what its parameters are called, or take a module that exists already.

    It gets ``shape`` or ``input_shape``, and ``classes``, ``num_classes`` or ``n_classes``; nothing else.

    Raises
    ------
    ConfigError
        Where it cannot be imported, raises, ends the process, or returns no module.
    """
    factory = _imported(name)
    if isinstance(factory, nn.Module):
        return factory
    known = {**dict.fromkeys(_SHAPE, tuple(shape)), **dict.fromkeys(_CLASSES, classes)}
    try:
        model = factory(**_asked_for(factory, known))
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{name} cannot be called: it raised {_said(error)}. Mend the factory.") from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{name} returned {type(model).__name__}, not a torch.nn.Module. Return the model.")
    return model


def _imported(name: str) -> Callable[..., Any]:
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"Cannot import {name!r}: {_said(error)}. Name it as package.module:factory.") from error
    if not callable(factory):
        raise ConfigError(f"{name} is {type(factory).__name__}, not a function that returns a model.")
    found: Callable[..., Any] = factory
    return found


def _asked_for(factory: Callable[..., Any], known: dict[str, Any]) -> dict[str, Any]:
    """What the factory names of what we know. A parameter that is called otherwise keeps its default."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # a callable in C that does not say
        return {}
    return {p.name: known[p.name] for p in parameters if p.name in known and p.kind != p.POSITIONAL_ONLY}


def _said(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")
