"""A small convolutional network."""

import math
from collections.abc import Sequence

from torch import nn

from holomorph.nn.classifiers.parts import make_activation, require_images


class CNN(nn.Sequential):
    """Three convolutions and one hidden layer; logits out.

    conv 5x5 / 2 with ``width`` channels, conv 3x3 / 2 and conv 3x3 with twice as many, then 4 x ``width`` units.
    Below 16 pixels the first convolution keeps the size.

    >>> import torch
    >>> CNN((1, 28, 28), 10)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, shape: Sequence[int], classes: int, *, width: int = 32, activation: str = "gelu") -> None:
        require_images("cnn", shape)
        channels, *sides = shape
        stride = 2 if min(sides) >= 16 else 1
        left = math.prod(((side - 1) // stride + 1 - 1) // 2 + 1 for side in sides)
        super().__init__(
            nn.Conv2d(channels, width, 5, stride=stride, padding=2),
            make_activation(activation),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            make_activation(activation),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            make_activation(activation),
            nn.Flatten(),
            nn.Linear(2 * width * left, 4 * width),
            make_activation(activation),
            nn.Linear(4 * width, classes),
        )
