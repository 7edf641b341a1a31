"""Plain real classifiers with smooth activations: a multilayer perceptron and a small convolutional network."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from holomorph.errors import ConfigError, HolomorphWarning, unknown_name
from holomorph.nn.factory import from_factory


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


def activation(name: str) -> nn.Module:
    """Make an activation by name; ReLU warns, since its gradient is piecewise constant.

    >>> activation("silu")
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


class MLP(nn.Sequential):
    """Fully connected layers on the flattened input; logits out.

    >>> MLP((8, 8), 10)(torch.zeros(2, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, shape: Sequence[int], classes: int, *, width: int = 256, depth: int = 2, activation: str = "gelu"
    ) -> None:
        sizes = [math.prod(shape)] + [width] * depth
        layers: list[nn.Module] = [nn.Flatten()]
        for wide_in, wide_out in itertools.pairwise(sizes):
            layers += [nn.Linear(wide_in, wide_out), _activation(activation)]
        super().__init__(*layers, nn.Linear(width, classes))


class CNN(nn.Sequential):
    """Three convolutions and one hidden layer; logits out.

    conv 5x5 / 2 with ``width`` channels, conv 3x3 / 2 and conv 3x3 with twice as many, then 4 x ``width`` units.
    Below 16 pixels the first convolution keeps the size.

    >>> CNN((1, 28, 28), 10)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, shape: Sequence[int], classes: int, *, width: int = 32, activation: str = "gelu") -> None:
        if len(shape) != 3:
            raise ConfigError(
                f"The model 'cnn' takes images (channels, height, width); the samples have shape {tuple(shape)}. "
                "Use the model 'mlp'."
            )
        channels, *sides = shape
        stride = 2 if min(sides) >= 16 else 1
        left = math.prod(((side - 1) // stride + 1 - 1) // 2 + 1 for side in sides)
        super().__init__(
            nn.Conv2d(channels, width, 5, stride=stride, padding=2),
            _activation(activation),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            _activation(activation),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            _activation(activation),
            nn.Flatten(),
            nn.Linear(2 * width * left, 4 * width),
            _activation(activation),
            nn.Linear(4 * width, classes),
        )


_activation = activation  # the constructors have an argument of that name

MODELS: dict[str, Callable[..., nn.Module]] = {"mlp": MLP, "cnn": CNN}


def build(name: str, shape: Sequence[int], classes: int, *, activation: str = "gelu", **settings: Any) -> nn.Module:
    """Make a model by name, or call a user's factory ``package.module:factory``.

    A factory gets ``shape`` and ``classes`` where it has parameters of these names, and nothing else; that runs the
    user's code, as asked.

    Raises
    ------
    ConfigError
        For an unknown name, or a factory that cannot be imported or does not return a module.

    >>> type(build("cnn", (1, 8, 8), 10, activation="silu")).__name__
    'CNN'
    """
    if ":" in name:
        return from_factory(name, shape, classes)
    if name not in MODELS:
        raise unknown_name("model", name, [*MODELS, "package.module:factory"])
    return MODELS[name](shape, classes, activation=activation, **settings)
