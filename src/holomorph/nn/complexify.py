r"""``complexify``: the analytic extension of a network into a tube $|\mathrm{Im}\,z_j| < \rho$ around the reals."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from holomorph.calculus import special
from holomorph.errors import NotHolomorphicError
from holomorph.nn.classifiers import Normalise, Sine
from holomorph.nn.holomorphy import BREAKING

Stretch = Callable[[float], float]


class Extension(nn.Module, ABC):
    """The analytic extension of one real layer; on real tensors it is the layer itself."""

    @abstractmethod
    def spread(self, height: float) -> float:
        r"""A bound of |Im| of every output coordinate, given |Im| <= height of every input coordinate.

        Infinite where the bound cannot exclude a singularity.
        """


class AffineExtension(Extension):
    r"""$L(a + ib) = L(a) + i\,(L(b) - L(0))$ for a real affine layer: two real products, one call."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, z: Tensor) -> Tensor:
        """Apply the extension."""
        if not z.is_complex():
            return self.layer(z)
        stacked = self.layer(torch.cat([z.real, z.imag, torch.zeros_like(z.real[:1])]))
        real, imaginary, origin = torch.split(stacked, [len(z), len(z), 1])
        return torch.complex(real, imaginary - origin)

    def spread(self, height: float) -> float:
        """The largest absolute row sum of the weights, times the height."""
        return height * _row_sum(self.layer)


class DropoutExtension(Extension):
    """Dropout with one mask for both parts."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, z: Tensor) -> Tensor:
        """Multiply by the mask."""
        return z * self.layer(torch.ones_like(z.real))

    def spread(self, height: float) -> float:
        """In evaluation dropout is the identity."""
        return height


class ActivationExtension(Extension):
    r"""A real-analytic activation on complex numbers.

    By the mean value theorem along the vertical segment $|\mathrm{Im}\,\sigma(x + it)| \le t \sup|\sigma'|$ over the
    strip; ``stretch(t)`` bounds that supremum and is infinite where the strip of half-width t holds a singularity.
    """

    def __init__(self, layer: nn.Module, function: Callable[[Tensor], Tensor], stretch: Stretch) -> None:
        super().__init__()
        self.layer, self.function, self.stretch = layer, function, stretch

    def forward(self, z: Tensor) -> Tensor:
        """Apply the activation."""
        return self.function(z) if z.is_complex() else self.layer(z)

    def spread(self, height: float) -> float:
        """The height times the bound of the derivative."""
        return height * self.stretch(height) if math.isfinite(height) else math.inf


def complexify(model: nn.Module) -> nn.Module:
    r"""A copy of a real network that also takes complex inputs, its analytic extension.

    Affine layers act on Re and Im separately; GELU and sin extend everywhere, growing like $e^{(\mathrm{Im} z)^2/2}$
    and $e^{|\mathrm{Im} z|}$; tanh has poles at $i\pi/2$, sigmoid and SiLU at $i\pi$, softplus branch points at
    $i\pi/\beta$. Layers are replaced wherever they stand; the forward functions of containers stay as they are. The
    copy has its own parameters. On real inputs it equals the model.

    Parameters
    ----------
    model:
        Built of linear and convolution layers, average pooling, Normalise, dropout, Flatten, and real-analytic
        activations.

    Raises
    ------
    NotHolomorphicError
        Naming the first layer that has no analytic extension, and what to use instead.

    Source: docs/mathematics.md, section 4.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 1))
    >>> complexify(net)(torch.zeros(1, 2, dtype=torch.complex64)).shape
    torch.Size([1, 1])
    """
    baseline = copy.deepcopy(model)
    wrapped = _extension("", baseline)
    if wrapped is not None:
        return wrapped
    for name, module in list(baseline.named_modules()):
        for child_name, child in list(module._modules.items()):  # a layer may stand in several places
            path = f"{name}.{child_name}".lstrip(".")
            extended = _extension(path, child) if child is not None and not isinstance(module, Extension) else None
            if extended is not None:
                setattr(module, child_name, extended)
    return baseline


def tube_width(extended: nn.Module) -> float:
    r"""A $\rho$ such that the extension is holomorphic where all $|\mathrm{Im}\,z_j| < \rho$; infinite for entire ones.

    The bound of |Im| is carried from layer to layer (:meth:`Extension.spread`); the true tube may be wider.

    Raises
    ------
    NotHolomorphicError
        For anything but a ``complexify``-ed (nested) ``nn.Sequential``, whose order of evaluation is known.

    Source: docs/mathematics.md, section 4.

    >>> round(tube_width(complexify(nn.Sequential(nn.Tanh()))), 4)
    1.5708
    """
    layers = _in_order(extended)

    def inside(height: float) -> bool:
        for layer in layers:
            height = layer.spread(height)
        return math.isfinite(height)

    low, high = 0.0, 1e-9
    while inside(high):
        low, high = high, 2 * high
        if high > 1e3:
            return math.inf if _is_entire(layers) else low
    if _is_entire(layers):
        return math.inf
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) else (low, middle)
    return low


def _is_entire(layers: list[Extension]) -> bool:
    return all(not isinstance(a, ActivationExtension) or isinstance(a.layer, nn.GELU | Sine) for a in layers)


def _in_order(module: nn.Module) -> list[Extension]:
    if isinstance(module, Extension):
        return [module]
    if isinstance(module, nn.Sequential):
        return [layer for child in module for layer in _in_order(child)]
    if isinstance(module, nn.Flatten | nn.Identity):
        return []
    raise NotHolomorphicError(
        f"The tube is known for complexified nn.Sequential networks only, not for {type(module).__name__}."
    )


def _extension(name: str, layer: nn.Module) -> Extension | None:
    """The extension of a layer; None for containers and what takes complex numbers as it is."""
    averages = nn.AvgPool1d | nn.AvgPool2d | nn.AdaptiveAvgPool2d
    if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | averages | Normalise):
        return AffineExtension(layer)
    if isinstance(layer, nn.Dropout | nn.Dropout1d | nn.Dropout2d):
        return DropoutExtension(layer)
    if isinstance(layer, nn.GELU) and layer.approximate == "none":
        return ActivationExtension(layer, special.gelu, _gelu_stretch)
    if isinstance(layer, nn.Softplus):
        beta = float(layer.beta)
        return ActivationExtension(layer, lambda z: special.softplus(z, beta), lambda t: _sigmoid_size(beta * t))
    simple: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], Stretch]] = {
        Sine: (torch.sin, lambda t: math.cosh(t) if t < 700 else math.inf),
        nn.Tanh: (torch.tanh, lambda t: 1 / math.cos(t) ** 2 if t < math.pi / 2 else math.inf),
        nn.SiLU: (special.silu, _silu_stretch),
        nn.Sigmoid: (special.sigmoid, lambda t: _sigmoid_size(t) ** 2),
    }
    for kind, (function, stretch) in simple.items():
        if isinstance(layer, kind):
            return ActivationExtension(layer, function, stretch)
    if isinstance(layer, nn.Flatten | nn.Identity | Extension) or list(layer.children()):
        return None
    hint = BREAKING.get(type(layer), "linear layers, average pooling and GELU, SiLU, softplus, tanh or sin")
    raise NotHolomorphicError(f"Layer {name!r} ({type(layer).__name__}) has no analytic extension. Use {hint}.")


def _row_sum(layer: nn.Module) -> float:
    if isinstance(layer, Normalise):
        return float((1 / layer.std.abs()).max())
    if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
        return float(layer.weight.detach().abs().flatten(1).sum(1).max())
    return 1.0  # averages


def _sigmoid_size(t: float) -> float:
    """The supremum of |1/(1 + exp(-z))| over |Im z| <= t."""
    return 1.0 if t <= math.pi / 2 else 1 / math.sin(t) if t < math.pi else math.inf


def _silu_stretch(t: float) -> float:
    r"""|s + z s(1-s)| with |s(1-s)| = 1/(2(cosh x + cos t)), and cosh x >= 1 + x^2/2."""
    room = 1 + math.cos(t)
    if t >= math.pi or room == 0:
        return math.inf
    return _sigmoid_size(t) + 1 / (2 * math.sqrt(2 * room)) + t / (2 * room)


def _gelu_stretch(t: float) -> float:
    r"""|Phi(z) + z phi(z)| with |phi(x + it)| = phi(x) e^{t^2/2}, phi <= 0.4 and |x| phi(x) <= 0.25."""
    return 1 + (0.8 * t + 0.25) * math.exp(t * t / 2) if t < 37 else math.inf
