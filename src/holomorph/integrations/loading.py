"""Any user's model: a factory with weights, or an ONNX file; weights never run code."""

from __future__ import annotations

import hashlib
import logging
import pickle
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from holomorph.errors import CheckpointError, ConfigError, MissingExtraError
from holomorph.nn import classifiers

log = logging.getLogger("holomorph")

#: Under which name training scripts keep the weights in a file, and what wrappers put before each weight's name.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "module", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def load_model(
    source: str, weights: str | Path | None = None, *, shape: tuple[int, ...] = (), classes: int = 0
) -> nn.Module:
    """Load ``package.module:factory`` with its weights, a model of this package by name, or a file ``*.onnx``.

    Parameters
    ----------
    source:
        A factory (it is called, so it runs the user's code, as asked), ``cnn``, ``mlp``, or an ONNX file.
    weights:
        A safetensors file, or a state dict saved by ``torch.save``; read with ``weights_only=True``, so that a
        pickle that wants to run code is refused.
    shape, classes:
        Handed to a factory that takes arguments.

    Raises
    ------
    ConfigError, CheckpointError, MissingExtraError
        For a factory that cannot be called, weights that cannot be read or do not fit, weights beside an ONNX file, or
        no onnxruntime.
    """
    if source.endswith(".onnx"):
        if weights is not None:
            raise ConfigError(f"{source} holds its own weights. Leave out {weights}.")
        return OnnxModel(source)
    model = classifiers.build(source, shape, classes)
    if weights is not None:
        load_weights(model, weights)
    return model.eval()


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a state dict into a model; every tensor must be there and fit.

    What wrappers have put before the names is stripped, and said: ``module.`` of DataParallel, ``_orig_mod.`` of
    torch.compile, ``model.`` or ``net.`` of a training module.
    """
    state, stripped = _fitting(read_state(Path(path)), model.state_dict().keys())
    if stripped:
        log.warning("The names of the weights in %s were read without their beginning %r.", path, stripped)
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
            return dict(load_file(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on the age of a pickle; here it is read or refused
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"There are no weights at {path}.") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is refused: it holds objects that could run code, not tensors alone. Save the model's "
            f"state_dict(), best as safetensors."
        ) from None
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as weights: {' '.join(str(error).split())[:150]}") from None
    if isinstance(state, dict):
        state = next((state[key] for key in _CONTAINERS if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no state dict. Save model.state_dict(), best as safetensors.")
    return state


def _fitting(state: dict[str, Any], names: Collection[str]) -> tuple[dict[str, Any], str]:
    """The state without the beginnings that all of its names share and the model's have not, and what these were."""
    stripped = ""
    while state.keys() != set(names):
        prefix = next((p for p in _PREFIXES if state and all(key.startswith(p) for key in state)), None)
        if prefix is None or any(name.startswith(stripped + prefix) for name in names):
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
        stripped += prefix
    return state, stripped


class OnnxModel(nn.Module):
    """A network in ONNX, run by onnxruntime: outputs without gradients, for black-box attacks only.

    Its first input takes the samples, its first output gives the logits. An evaluation of it is an upper bound.
    """

    differentiable = False

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "onnx") from error
        if not Path(path).is_file():
            raise ConfigError(f"There is no ONNX file at {path}.")
        self.path = Path(path)
        self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises types of its own for each kind of damage
            raise CheckpointError(f"{path} cannot be read as ONNX: {' '.join(str(error).split())[:150]}") from None
        self._input = self._session.get_inputs()[0]
        self._type = np.float64 if "double" in self._input.type else np.float32

    def forward(self, x: Tensor) -> Tensor:
        """Return the first output, in the dtype and on the device of x."""
        fixed = self._input.shape[0]
        size = fixed if isinstance(fixed, int) else max(1, len(x))
        samples = x.detach().cpu().numpy().astype(self._type)
        rows = [self._run(samples[i : i + size], size) for i in range(0, len(samples), size)]
        return torch.from_numpy(np.concatenate(rows)).to(x)

    def _run(self, samples: Any, size: int) -> Any:
        """Run one batch, filled up where the file fixes the batch size."""
        short = size - len(samples)
        padded = np.concatenate([samples, np.repeat(samples[-1:], short, 0)]) if short else samples
        return self._session.run(None, {self._input.name: padded})[0][: len(samples)]

    def extra_repr(self) -> str:
        """Name the file and its content."""
        return f"{self.path.name}, sha256={self.sha256}"
