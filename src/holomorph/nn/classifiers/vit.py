"""A small vision transformer."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from holomorph.errors import ConfigError
from holomorph.nn.classifiers.parts import make_activation, require_images


class Attention(nn.Module):
    """Self-attention of several heads, in plain operations: they can be differentiated as often as one likes.

    >>> Attention(8, heads=2)(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the tokens (batch, tokens, width)."""
        batch, tokens, width = x.shape
        parts = self.project(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        weights = (query @ key.transpose(-2, -1) / math.sqrt(width // self.heads)).softmax(-1)
        out: Tensor = self.out((weights @ value).transpose(1, 2).reshape(batch, tokens, width))
        return out


class EncoderLayer(nn.Module):
    """Attention and a two-layer perceptron, each after a LayerNorm and added to what comes in."""

    def __init__(self, width: int, heads: int, activation: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        hidden = nn.Linear(width, 4 * width)
        self.perceptron = nn.Sequential(hidden, make_activation(activation), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Add both to the tokens."""
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.perceptron(self.norm2(x))
        return out


class ViT(nn.Module):
    """A vision transformer on square patches, with the mean of the tokens as read-out; logits out.

    Parameters
    ----------
    shape:
        (channels, height, width) of a sample.
    classes:
        Number of logits.
    patch:
        Side of a patch in pixels; by default the largest that divides both sides and leaves at least 7 x 7 patches.
    width, depth, heads:
        Numbers of a token, encoder layers, and heads of attention; heads divide the width.
    activation:
        A smooth one by name; see :func:`~holomorph.nn.classifiers.make_activation`.

    Source: Dosovitskiy et al. 2021; Beyer et al. 2022, "Better plain ViT baselines", for the mean as read-out.

    >>> ViT((3, 32, 32), 10, width=16, depth=1, heads=2)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        patch: int | None = None,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        activation: str = "gelu",
    ) -> None:
        require_images("vit", shape)
        channels, *sides = shape
        patch = _largest(sides) if patch is None else patch
        if patch < 1 or any(side % patch for side in sides):
            raise ConfigError(f"patch is {patch}; it must divide the sides of the images, {sides[0]} and {sides[1]}.")
        if heads < 1 or width % heads:
            raise ConfigError(f"{heads} heads do not divide a width of {width}. Choose another width or heads.")
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.position = nn.Parameter(0.02 * torch.randn(math.prod(side // patch for side in sides), width))
        self.layers = nn.Sequential(*[EncoderLayer(width, heads, activation) for _ in range(depth)])
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.out(self.norm(self.layers(tokens)).mean(1))
        return logits


def _largest(sides: Sequence[int]) -> int:
    """The largest divisor of both sides that leaves seven patches along the shorter, or 1."""
    return max((p for p in range(1, min(sides) // 7 + 1) if all(side % p == 0 for side in sides)), default=1)
