"""Classifiers by name: plain real ones with smooth activations, and those that others made."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from torch import nn

from holomorph.errors import ConfigError, unknown_name
from holomorph.nn import foreign
from holomorph.nn.classifiers.cnn import CNN
from holomorph.nn.classifiers.mlp import MLP
from holomorph.nn.classifiers.parts import ACTIVATIONS, Normalise, Sine, make_activation
from holomorph.nn.classifiers.resnet import ResNet
from holomorph.nn.classifiers.vit import ViT

__all__ = [
    "ACTIVATIONS", "CNN", "MLP", "MODELS", "Normalise", "ResNet", "Sine", "ViT", "build_classifier", "make_activation",
]  # fmt: skip

MODELS: dict[str, Callable[..., nn.Module]] = {"mlp": MLP, "cnn": CNN, "resnet": ResNet, "vit": ViT}


#: The largest width or depth that a text may ask for: a slip of the keyboard must not fill the memory.
LARGEST = 65536


def build_classifier(
    name: str,
    shape: Sequence[int],
    classes: int,
    *,
    activation: str = "gelu",
    pretrained: bool | None = None,
    **settings: Any,
) -> nn.Module:
    """Make a model by name; settings may follow the name, ``resnet?depth=8&norm=group``.

    - ``mlp``, ``cnn``, ``resnet``, ``vit``: built in, with a smooth activation.
    - ``timm:NAME``, ``torchvision:NAME``, ``hf:PATH``: of a library; ``?pretrained=yes`` takes its weights.
    - ``package.module:factory``: a function or a class, which gets ``shape`` and ``classes`` where it has parameters of
      these names, or a module that exists already; that runs the user's code, as asked.
    - ``PATH.onnx``, ``PATH.pt2``: a file.

    Those that are not built in take the settings of a preprocessing, ``mean``, ``std``, ``box`` (the range of pixels
    that mean and std count in), ``order`` (``bgr``) and ``size`` (pixels), so that inputs stay images in [0, 1];
    pretrained ones of a library bring their own. ``activation=gelu`` puts a smooth activation in the place of every
    ReLU, which is logged; ``classes`` is the number of outputs where it is not that of the data.

    Parameters
    ----------
    activation:
        Of the built-in models.
    pretrained:
        Whether a library's weights are wanted where the name does not say; False never loads them: others follow.

    Raises
    ------
    ConfigError, CheckpointError, MissingExtraError
        For an unknown name or setting, a model that cannot be made, or a library that is missing.

    >>> type(build_classifier("cnn", (1, 8, 8), 10, activation="silu")).__name__
    'CNN'
    >>> build_classifier("mlp?width=8&depth=1", (4,), 2)[1]
    Linear(in_features=4, out_features=8, bias=True)
    """
    word, _, query = name.partition("?")
    if foreign.is_foreign(name):
        return foreign.build_foreign(word, shape, classes, {**_read(query), **settings}, pretrained)
    if word not in MODELS:
        raise unknown_name("model", word, [*MODELS, *foreign.foreign_names()])
    known = set(inspect.signature(MODELS[word]).parameters) - {"shape", "classes"}
    chosen = {"activation": activation, **settings, **_read(query)}
    for setting in chosen:
        if setting not in known:
            raise unknown_name(f"setting of the model {word!r}", setting, known)
        if isinstance(chosen[setting], int) and not 0 <= chosen[setting] <= LARGEST:
            raise ConfigError(f"{setting} is {chosen[setting]}; it must lie between 0 and {LARGEST}.")
    try:
        return MODELS[word](shape, classes, **chosen)
    except (RuntimeError, TypeError, MemoryError, OverflowError) as error:  # sizes of no network, or beyond memory
        said = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"The model {name!r} cannot be made ({said}). Give other settings.") from None


def _read(query: str) -> dict[str, Any]:
    try:
        pairs = parse_qsl(query, strict_parsing=True) if query else []
    except ValueError:
        raise ConfigError(f"Cannot read the settings {query!r}. Write them as setting=value&setting=value.") from None
    return {key: int(value) if re.fullmatch(r"-?[0-9]{1,18}", value) else value for key, value in pairs}
