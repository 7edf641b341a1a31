"""Models in files: ONNX, which answers without gradients, and programs of torch.export."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holomorph.errors import CheckpointError, ConfigError, MissingExtraError


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
        self.path, self.sha256 = _file(path, "ONNX file")
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


class TorchProgram(nn.Module):
    """A network written by ``torch.export`` (``*.pt2``): it has gradients, and its weights can be trained further.

    What differs between training and evaluation was fixed when it was written.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path, self.sha256 = _file(path, "torch program")
        try:
            self.model = torch.export.load(self.path).module()
        except Exception as error:  # torch raises types of its own for each kind of damage
            raise CheckpointError(
                f"{path} cannot be read as a torch program: {' '.join(str(error).split())[:150]}"
            ) from None

    def train(self, mode: bool = True) -> TorchProgram:
        """Note the mode, which changes nothing: programs refuse to be told."""
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Any:
        """Return what the program returns."""
        return self.model(x)

    def extra_repr(self) -> str:
        """Name the file and its content."""
        return f"{self.path.name}, sha256={self.sha256}"


def _file(path: str | Path, what: str) -> tuple[Path, str]:
    """A file that exists, and the digest of its content."""
    if not Path(path).is_file():
        raise ConfigError(f"There is no {what} at {path}.")
    return Path(path), hashlib.sha256(Path(path).read_bytes()).hexdigest()
