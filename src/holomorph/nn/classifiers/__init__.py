"""Plain real classifiers with smooth activations, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from torch import nn

from holomorph.errors import ConfigError, unknown_name
from holomorph.nn.classifiers.cnn import CNN
from holomorph.nn.classifiers.mlp import MLP
from holomorph.nn.classifiers.parts import ACTIVATIONS, Normalise, Sine
from holomorph.nn.classifiers.parts import make_activation as activation
from holomorph.nn.classifiers.resnet import ResNet
from holomorph.nn.classifiers.vit import ViT
from holomorph.nn.factory import from_factory

__all__ = ["ACTIVATIONS", "CNN", "MLP", "MODELS", "Normalise", "ResNet", "Sine", "ViT", "activation", "build"]

MODELS: dict[str, Callable[..., nn.Module]] = {"mlp": MLP, "cnn": CNN, "resnet": ResNet, "vit": ViT}


def build(name: str, shape: Sequence[int], classes: int, *, activation: str = "gelu", **settings: Any) -> nn.Module:
    """Make a model by name, or call a user's factory ``package.module:factory``.

    Built in are ``mlp``, ``cnn``, ``resnet`` and ``vit``; settings may follow the name, ``resnet?depth=8&norm=group``.
    A factory is a function or a class, which gets ``shape`` and ``classes`` where it has parameters of these names, or
    a module that exists already; that runs the user's code, as asked.

    Raises
    ------
    ConfigError
        For an unknown name or setting, or a factory that cannot be imported, cannot be called or makes no module.

    >>> type(build("cnn", (1, 8, 8), 10, activation="silu")).__name__
    'CNN'
    >>> build("mlp?width=8&depth=1", (4,), 2)[1]
    Linear(in_features=4, out_features=8, bias=True)
    """
    if ":" in name:
        return from_factory(name, shape, classes)
    word, _, query = name.partition("?")
    if word not in MODELS:
        raise unknown_name("model", word, [*MODELS, "package.module:factory"])
    known = set(inspect.signature(MODELS[word]).parameters) - {"shape", "classes"}
    chosen = {"activation": activation, **settings, **_read(query)}
    for setting in chosen:
        if setting not in known:
            raise unknown_name(f"setting of the model {word!r}", setting, known)
    return MODELS[word](shape, classes, **chosen)


def _read(query: str) -> dict[str, Any]:
    try:
        pairs = parse_qsl(query, strict_parsing=True) if query else []
    except ValueError:
        raise ConfigError(f"Cannot read the settings {query!r}. Write them as setting=value&setting=value.") from None
    return {key: int(value) if value.isdecimal() else value for key, value in pairs}
