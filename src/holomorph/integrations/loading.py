"""Any user's model: a factory with weights, or an ONNX file; weights never run code."""

import io
import logging
import pickle
import re
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from holomorph._utils.io import read_plain
from holomorph.errors import CheckpointError, ConfigError
from holomorph.nn import classifiers
from holomorph.nn.foreign import FILES, Preprocessed

_log = logging.getLogger("holomorph")

#: Under which name training scripts keep the weights in a file, and what wrappers put before each weight's name.
_CONTAINERS = (
    "state_dict", "model_state_dict", "model", "net", "module", "weights", "params", "ema", "model_ema", "params_ema",
)  # fmt: skip
_WRAPPERS = re.compile(r"(module|_orig_mod|model|net)\.")


def load_model(
    source: str, weights: str | Path | None = None, *, shape: tuple[int, ...] = (), classes: int = 0, **settings: Any
) -> nn.Module:
    """Load a model by name, with its weights, for evaluation.

    Parameters
    ----------
    source:
        As in :func:`holomorph.nn.classifiers.build_classifier`: ``cnn``, ``timm:resnet18``,
        ``torchvision:resnet18``, ``hf:PATH``, ``package.module:factory``
        (it is called, so it runs the user's code, as asked), ``net.onnx`` or ``net.pt2``.
        A model of a library has the library's weights unless others are given.
    weights:
        A safetensors file, or a state dict saved by ``torch.save``; read with ``weights_only=True``, so that a
        pickle that wants to run code is refused.
    shape, classes:
        Of a sample, and the number of classes.
    settings:
        What may follow a question mark in the name: ``mean``, ``std``, ``box``, ``order``, ``size``, ``activation``.

    Raises
    ------
    ConfigError, CheckpointError, MissingExtraError
        For a model that cannot be made, weights that cannot be read or do not fit, weights beside a file that holds its
        own, or a package that is missing.
    """
    if weights is not None and Path(source.partition("?")[0]).suffix in FILES:
        raise ConfigError(f"{source} holds its own weights. Leave out {weights}.")
    model = classifiers.build_classifier(source, shape, classes, pretrained=weights is None, **settings)
    if weights is not None:
        load_weights(model, weights)
    return model.eval()


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a state dict into a model; every tensor must be there and fit.

    What wrappers have put before the names is stripped, and said: ``module.`` of DataParallel, ``_orig_mod.`` of
    torch.compile, ``model.``, ``net.`` or another beginning of a training module, whose other tensors are left out.
    """
    if isinstance(model, Preprocessed):
        model = model.model
    state, stripped = _fitting(read_state(Path(path)), model.state_dict().keys())
    if stripped:
        _log.warning("The names of the weights in %s were read without their beginning %r.", path, stripped)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} does not fit the model: {first}") from None


def read_state(path: Path) -> dict[str, Any]:
    """Read tensors from a safetensors file or a state dict; nothing in the file is executed.

    Raises
    ------
    CheckpointError
        For a missing or damaged file, and for a pickle that holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load(read_plain(path)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on the age of a pickle; here it is read or refused
            state = torch.load(io.BytesIO(read_plain(path)), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"There are no weights at {path}.") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is refused: it holds objects that could run code, not tensors alone. Save the model's "
            f"state_dict(), best as safetensors."
        ) from None
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as weights: {' '.join(str(error).split())[:150]}") from None
    while isinstance(state, dict) and (inside := [k for k in _CONTAINERS if isinstance(state.get(k), dict)]):
        state = state[inside[0]]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no state dict. Save model.state_dict(), best as safetensors.")
    return state


def _fitting(state: dict[str, Any], names: Collection[str]) -> tuple[dict[str, Any], str]:
    """The part of the state whose names are the model's after a beginning, and this beginning.

    Where several parts fit, such as a student and its teacher, only one that wrappers have named is taken.
    """
    wanted, fits = set(names), dict[str, dict[str, Any]]()
    for key in state if wanted and state.keys() != wanted else ():
        prefix = key.removesuffix(min(wanted))
        if prefix != key and prefix not in fits:
            part = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            fits |= {prefix: part} if part.keys() == wanted else {}
    known = [prefix for prefix in fits if not _WRAPPERS.sub("", prefix)]
    chosen = known if len(fits) > 1 else list(fits)
    return (fits[chosen[0]], chosen[0]) if len(chosen) == 1 else (state, "")
