"""What the built-in classifiers are made of: smooth activations by name, and the normalisation of inputs."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from holomorph.contract.model import CHANNELS_FIRST, channels_seem_last
from holomorph.errors import ConfigError, HolomorphWarning, unknown_name


class Sine(nn.Module):
    """sin, entire and bounded on the real line."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply sin to each coordinate."""
        return x.sin()


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": lambda: nn.Softplus(beta=5.0),
    "tanh": nn.Tanh,
    "sin": Sine,
    "relu": nn.ReLU,
}


def make_activation(name: str) -> nn.Module:
    """Make an activation by name; ReLU warns, since its gradient is piecewise constant.

    >>> make_activation("silu")
    SiLU()
    """
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    if name == "relu":
        warnings.warn(
            "Gradient rules need a smooth activation: ReLU has no second derivative to learn from. "
            "Consider gelu (the default) or silu.",
            HolomorphWarning,
            stacklevel=3,
        )
    return ACTIVATIONS[name]()


class Normalise(nn.Module):
    """(x - mean) / std as a layer, so that a model takes its inputs in their own box.

    >>> Normalise([1e6], 0.5, dtype=torch.float64)(torch.tensor([[1e6 + 0.01]], dtype=torch.float64))
    tensor([[0.0200]], dtype=torch.float64)
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=dtype))
        self.register_buffer("std", torch.as_tensor(std, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; one number serves all coordinates, several serve channels (or features)."""
        shape = (-1, *(1,) * (x.ndim - 2)) if self.mean.ndim else ()
        return (x - self.mean.reshape(shape)) / self.std.reshape(shape)


def require_images(model: str, shape: Sequence[int]) -> None:
    """Refuse samples that are no images (channels, height, width), or that seem to have their channels last.

    Raises
    ------
    ConfigError
        With the model that takes them.

    >>> require_images("cnn", (1, 28, 28))
    """
    if len(shape) != 3:
        raise ConfigError(
            f"The model {model!r} takes images (channels, height, width); the samples have shape {tuple(shape)}. "
            "Use the model 'mlp'."
        )
    if channels_seem_last(shape):
        raise ConfigError(
            f"The model {model!r} takes images (channels, height, width); the samples have shape {tuple(shape)}. "
            + CHANNELS_FIRST
        )
