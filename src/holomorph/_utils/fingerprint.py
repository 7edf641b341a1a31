"""What a resumed measurement must match: a digest of models, data and settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn


def digest(*tensors: Tensor) -> str:
    """A hash of tensors: shapes, types and values."""
    sha = hashlib.sha256()
    for t in tensors:
        sha.update(f"{tuple(t.shape)}{t.dtype}".encode())
        sha.update(t.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def fingerprint(models: Iterable[nn.Module], x: Tensor, y: Tensor, settings: str) -> str:
    """Return sixteen hexadecimal digits that change with any weight, sample, label or setting.

    >>> x, y, model = torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), nn.Linear(2, 2)
    >>> before = fingerprint([model], x, y, "")
    >>> model.bias.data[0] += 1
    >>> before == fingerprint([model], x, y, "")
    False
    """
    digest = hashlib.sha256(settings.encode())
    tensors = [x, y]
    for model in models:
        digest.update(str(model).encode())
        tensors += model.state_dict().values()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
