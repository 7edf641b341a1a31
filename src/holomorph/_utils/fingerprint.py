"""What a resumed measurement must match: digests of tensors, of models, and of a whole measurement."""

import hashlib

import torch
from torch import Tensor, nn


def digest(*tensors: Tensor) -> str:
    """A hash of tensors: shapes, types and values."""
    sha = hashlib.sha256()
    for t in tensors:
        sha.update(f"{tuple(t.shape)}{t.dtype}".encode())
        sha.update(t.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def model_digest(model: object) -> str:
    """A hash of everything a module stores, with its class names; a plain function has only its name."""
    if not isinstance(model, nn.Module):
        return getattr(model, "__qualname__", type(model).__qualname__)
    state = {name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)}
    return digest(*state.values()) + hashlib.sha256(repr(model).encode()).hexdigest()


def fingerprint(settings: str, *tensors: Tensor) -> str:
    """Return sixteen hexadecimal digits that change with any setting, sample or label; models are told by their marks.

    >>> fingerprint("", torch.zeros(2)) == fingerprint("", torch.zeros(2, 1))
    False
    """
    return hashlib.sha256(f"{settings}|{digest(*tensors)}".encode()).hexdigest()[:16]
