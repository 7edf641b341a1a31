"""The modes of a model's layers while it is trained."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def training_modes(model: nn.Module) -> Iterator[None]:
    """Put a model into training mode where it is to be trained, and every module back into its own mode afterwards.

    What is in evaluation mode inside a model in training mode was frozen by its owner and stays so. A model that is
    wholly in evaluation mode is trained, but for normalising layers whose own parameters are all frozen.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        if not model.training:
            for module, _ in modes:
                module.training = not _is_frozen_norm(module)
        yield
    finally:
        for module, training in modes:
            module.training = training


def _is_frozen_norm(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return (
        "running_mean" in dict(module.named_buffers(recurse=False))
        and bool(own)
        and not any(parameter.requires_grad for parameter in own)
    )
