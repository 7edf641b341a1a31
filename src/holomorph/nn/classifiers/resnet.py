"""A residual network with pre-activation: normalisation and activation come before each convolution."""

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from holomorph.errors import ConfigError, unknown_name
from holomorph.nn.classifiers.parts import make_activation, require_images

#: Normalisation of feature maps by name: a function of the number of channels.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(max(1, channels // 8), channels),
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "none": lambda _: nn.Identity(),
}


class Block(nn.Module):
    """Two 3x3 convolutions, each after its normalisation and activation, added to what comes in.

    Where the shape changes, a 1x1 convolution of the activated input replaces the input in the sum.
    """

    def __init__(self, channels: int, out: int, stride: int, norm: str, activation: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = NORMS[norm](channels), NORMS[norm](out)
        self.activation1, self.activation2 = make_activation(activation), make_activation(activation)
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        changes = stride > 1 or channels != out
        self.shortcut = nn.Conv2d(channels, out, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Add the two convolutions to the input."""
        ready = self.activation1(self.norm1(x))
        kept = x if self.shortcut is None else self.shortcut(ready)
        out: Tensor = kept + self.conv2(self.activation2(self.norm2(self.conv1(ready))))
        return out


class ResNet(nn.Sequential):
    """Three stages of residual blocks with ``width``, 2 x ``width`` and 4 x ``width`` channels; logits out.

    Parameters
    ----------
    shape:
        (channels, height, width) of a sample.
    classes:
        Number of logits.
    depth:
        8, 14, 20, ...: 6 n + 2 layers, n blocks a stage.
    width:
        Channels of the first stage. Depth 20 and width 16 give 272,000 weights, depth 18 of other papers is wider.
    norm:
        ``"batch"``, ``"group"`` (8 channels a group), ``"layer"`` (all channels of a sample) or ``"none"``.
    activation:
        A smooth one by name; see :func:`~holomorph.nn.classifiers.make_activation`.

    Source: He et al. 2016, "Identity mappings in deep residual networks".

    >>> import torch
    >>> ResNet((3, 32, 32), 10, depth=8)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        depth: int = 20,
        width: int = 16,
        norm: str = "batch",
        activation: str = "gelu",
    ) -> None:
        require_images("resnet", shape)
        if norm not in NORMS:
            raise unknown_name("normalisation", norm, NORMS)
        if depth < 8 or depth % 6 != 2:
            raise ConfigError(f"depth is {depth}; a residual network of three stages has 8, 14, 20, 26, ... layers.")
        if width < 1:
            raise ConfigError(f"width is {width}; give at least 1 channel.")
        sizes = [width, width, 2 * width, 4 * width]
        layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, padding=1, bias=False)]
        for stage, (channels, out) in enumerate(itertools.pairwise(sizes)):
            layers += [Block(channels, out, 1 if stage == 0 else 2, norm, activation)]
            layers += [Block(out, out, 1, norm, activation) for _ in range(depth // 6 - 1)]
        layers += [NORMS[norm](sizes[-1]), make_activation(activation), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers, nn.Linear(sizes[-1], classes))
