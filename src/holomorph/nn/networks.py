"""Holomorphic networks: embedding, complex layers with holomorphic activations, read-out."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from holomorph.errors import ConfigError
from holomorph.nn.activations import HolomorphicActivation, activation
from holomorph.nn.embedding import Embedding, embedding
from holomorph.nn.layers import ComplexConv2d, ComplexLinear
from holomorph.nn.readout import Readout, readout

_activation, _embedding, _readout = activation, embedding, readout  # constructors have arguments of these names


class HolomorphicNetwork(nn.Module):
    r"""$x \mapsto \mathrm{readout}(h(\iota(x)))$: real inputs in, real logits out, h holomorphic between.

    Any rule, attack or function of the calculus that takes a classifier takes this one; :meth:`hypothesis` is what
    the holomorphic rule and the contours work on.

    Parameters
    ----------
    embedding:
        Real inputs to complex ones.
    body:
        h, complex (batch, ...) to complex (batch, outputs).
    readout:
        Outputs to logits.
    """

    def __init__(self, embedding: Embedding, body: nn.Module, readout: Readout) -> None:
        super().__init__()
        self.embedding, self.body, self.readout = embedding, body, readout

    def _start_small(self) -> None:
        """Halve the initial weights: entire activations grow exponentially off the reals, and so would their sums."""
        with torch.no_grad():
            for module in self.body.modules():
                if isinstance(module, ComplexLinear | ComplexConv2d):
                    for weight in (module.weight_real, module.weight_imag):
                        if weight is not None:
                            weight.mul_(0.5)

    @property
    def codes(self) -> Tensor:
        """The value that h should take on each class, (classes, outputs)."""
        return self.readout.codes

    def embed(self, x: Tensor) -> Tensor:
        """Embed real inputs."""
        return self.embedding(x)

    def hypothesis(self, z: Tensor) -> Tensor:
        """Evaluate h at embedded inputs: (batch, outputs), complex."""
        return self.body(z)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        return self.readout(self.hypothesis(self.embed(x)))


class HolomorphicMLP(HolomorphicNetwork):
    r"""Complex fully connected layers.

    Parameters
    ----------
    shape:
        Of one real sample.
    classes:
        How many.
    width, depth:
        Of the hidden layers.
    activation:
        A name in :data:`holomorph.nn.activations.HOLOMORPHIC_ACTIVATIONS`; ``scale`` is its scale, which keeps its
        growth in hand. Inputs should be of size about 1.
    embedding, readout:
        Names or objects; see :func:`holomorph.nn.embedding.embedding`, :func:`holomorph.nn.readout.readout`.
    real_weights:
        Real weights and biases: half the parameters and products; under complexification h is real on real inputs.

    Source: docs/mathematics.md, section 4.

    >>> HolomorphicMLP((2,), 3, width=8)(torch.zeros(5, 2)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        width: int = 32,
        depth: int = 2,
        activation: str = "sin",
        scale: float = 2.0,
        embedding: str | Embedding = "pairing",
        readout: str | Readout = "real",
        real_weights: bool = False,
    ) -> None:
        embed, read = _embedding(embedding), _readout(readout, classes)
        inputs = math.prod(embed.complex_shape(tuple(shape)))
        layers: list[nn.Module] = [nn.Flatten()]
        for size_in, size_out in itertools.pairwise([inputs] + [width] * depth):
            layers += [ComplexLinear(size_in, size_out, real=real_weights), _activation(activation, scale)]
        last = width if depth else inputs
        super().__init__(embed, nn.Sequential(*layers, ComplexLinear(last, read.outputs, real=real_weights)), read)
        self._start_small()


class HolomorphicCNN(HolomorphicNetwork):
    """Complex convolutions 5x5 and 3x3, each with stride 2, and one hidden layer of 4 x ``width`` units.

    Settings as in :class:`HolomorphicMLP`; strides take the place of max pooling, which is not holomorphic.

    >>> HolomorphicCNN((1, 8, 8), 10, width=4)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        width: int = 16,
        activation: str = "sin",
        scale: float = 2.0,
        embedding: str | Embedding = "complexification",
        readout: str | Readout = "real",
        real_weights: bool = False,
    ) -> None:
        embed, read = _embedding(embedding), _readout(readout, classes)
        inner = embed.complex_shape(tuple(shape))
        if len(inner) != 3:
            raise ConfigError(f"HolomorphicCNN takes images (channels, height, width), not {tuple(shape)}.")
        left = math.prod(((side - 1) // 2 + 1 - 1) // 2 + 1 for side in inner[1:])
        real = real_weights
        body = nn.Sequential(
            ComplexConv2d(inner[0], width, 5, stride=2, padding=2, real=real),
            _activation(activation, scale),
            ComplexConv2d(width, 2 * width, 3, stride=2, padding=1, real=real),
            _activation(activation, scale),
            nn.Flatten(),
            ComplexLinear(2 * width * left, 4 * width, real=real),
            _activation(activation, scale),
            ComplexLinear(4 * width, read.outputs, real=real),
        )
        super().__init__(embed, body, read)
        self._start_small()


def nearest_pole(network: nn.Module, z: Tensor) -> float:
    """The least distance of any pre-activation to a pole of its activation, over the batch; infinite if none has poles.

    >>> from holomorph.nn.activations import Tanh
    >>> round(nearest_pole(Tanh(), torch.tensor([[0.0 + 1.0j]])), 4)
    0.5708
    """
    distances = [math.inf]

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, HolomorphicActivation):
            distances.append(float(module.pole_distance(inputs[0].detach()).min()))

    handles = [module.register_forward_pre_hook(note) for module in network.modules()]
    try:
        with torch.no_grad():
            network(z)
    finally:
        for handle in handles:
            handle.remove()
    return min(distances)
