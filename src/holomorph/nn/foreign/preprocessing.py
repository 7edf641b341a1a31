"""What a model of somebody else's wants done to images in [0, 1], as a layer; and smooth activations in it."""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from holomorph.errors import ConfigError
from holomorph.nn.classifiers.parts import make_activation

_log = logging.getLogger("holomorph")


@dataclass(frozen=True)
class Preprocessing:
    """From images in [0, 1] to what a model was trained on, in this order.

    Attributes
    ----------
    size:
        (height, width) to which images are scaled; None leaves them.
    order:
        ``"rgb"`` or ``"bgr"``.
    box:
        The range that the model's own pixels have before they are normalised, for instance (0, 255).
    mean, std:
        Subtracted and divided by, in that range; one number or one a channel.
    """

    size: tuple[int, int] | None = None
    order: str = "rgb"
    box: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def does_nothing(self) -> bool:
        """Whether inputs stay as they are."""
        return self == NOTHING

    def __str__(self) -> str:
        """Say what is done."""
        scaled = f"scaled to {self.size[0]}x{self.size[1]} pixels, " if self.size else ""
        mean, std = (",".join(f"{value:g}" for value in part) for part in (self.mean, self.std))
        return f"{scaled}{self.order}, in [{self.box[0]:g}, {self.box[1]:g}], mean {mean}, std {std}"


NOTHING = Preprocessing()


class Preprocessed(nn.Module):
    """A model behind its preprocessing, so that threats, attacks and proofs count in the images' own [0, 1].

    Scaling is differentiable: attacks see through it. One grey channel serves a model of three. The weights' names are
    the model's own with ``model.`` before them.

    Parameters
    ----------
    model:
        Takes preprocessed images.
    preprocessing:
        What is done to them.
    labels:
        Names of the outputs.

    >>> model = Preprocessed(nn.Flatten(), Preprocessing(order="bgr", box=(0.0, 255.0)))
    >>> model(torch.tensor([0.0, 0.2, 1.0]).reshape(1, 3, 1, 1))
    tensor([[255.,  51.,   0.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        labels: tuple[tuple[str, ...], ...] = (),
        name: str = "The model",
    ) -> None:
        super().__init__()
        self.model, self.preprocessing, self.labels = model, preprocessing, labels
        self.differentiable = getattr(model, "differentiable", True)
        for part in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, part)).reshape(1, -1, 1, 1)
            self.register_buffer(part, values, persistent=False)
        if not preprocessing.does_nothing:
            _log.info("%s takes images %s.", name, preprocessing)

    def forward(self, x: Tensor) -> Any:
        """Return what the model returns for the preprocessed images."""
        p, channels = self.preprocessing, max(self.mean.numel(), self.std.numel())
        if x.ndim != 4 or (channels not in (1, x.shape[1]) and x.shape[1] != 1):
            raise ConfigError(
                f"The model takes images (batch, channels, height, width) with {channels} channels; these have the "
                f"shape {tuple(x.shape)}. Give such images, or mean and std with one number a channel."
            )
        if x.shape[1] < channels:
            x = x.expand(-1, channels, -1, -1)
        if p.size is not None and x.shape[2:] != p.size:
            x = interpolate(x, p.size, mode="bilinear", antialias=True, align_corners=False)
        if p.order == "bgr":
            x = x.flip(1)
        low, high = p.box
        return self.model((low + (high - low) * x - self.mean) / self.std)

    def extra_repr(self) -> str:
        """Say what is done."""
        return str(self.preprocessing)


def smoothed(model: nn.Module, activation: str, name: str) -> None:
    """Put a smooth activation in the place of every ReLU, and say so.

    Raises
    ------
    ConfigError
        Where there is none among the modules: functions cannot be exchanged.
    """
    places = [
        (module, child)
        for module in model.modules()
        for child, part in module.named_children()
        if isinstance(part, nn.ReLU | nn.ReLU6 | nn.LeakyReLU)
    ]
    if not places:
        raise ConfigError(f"{name} has no ReLU among its modules that {activation} could replace. Leave it out.")
    for module, child in places:
        setattr(module, child, make_activation(activation))
    _log.warning(
        "%d ReLU of %s became %s. Weights that were learned with ReLU must be trained further.",
        len(places), name, activation,
    )  # fmt: skip
