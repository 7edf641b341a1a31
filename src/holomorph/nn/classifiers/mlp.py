"""A multilayer perceptron."""

import itertools
import math
from collections.abc import Sequence

from torch import nn

from holomorph.contract.settings import at_least_one
from holomorph.nn.classifiers.parts import make_activation


class MLP(nn.Sequential):
    """Fully connected layers on the flattened input; logits out.

    >>> import torch
    >>> MLP((8, 8), 10)(torch.zeros(2, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, shape: Sequence[int], classes: int, *, width: int = 256, depth: int = 2, activation: str = "gelu"
    ) -> None:
        at_least_one(width=width)
        sizes = [math.prod(shape)] + [width] * depth
        layers: list[nn.Module] = [nn.Flatten()]
        for wide_in, wide_out in itertools.pairwise(sizes):
            layers += [nn.Linear(wide_in, wide_out), make_activation(activation)]
        super().__init__(*layers, nn.Linear(width, classes))
