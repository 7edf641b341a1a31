r"""``complexify``: the analytic extension of a network into a tube $|\mathrm{Im}\,z_j| < \rho$ around the reals."""

import copy
import math
from collections.abc import Callable

from torch import Tensor, nn

from holomorph.calculus import jets
from holomorph.errors import NotHolomorphicError
from holomorph.nn.classifiers import Normalise, Sine
from holomorph.nn.holomorphy import BREAKING

#: A bound of |Im| of every output coordinate, given one of every input coordinate; infinite near a singularity.
Spread = Callable[[float], float]


#: Normalisations that break holomorphy on complex numbers, by |.|, and are real-analytic all the same.
_ANALYTIC = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


class Complexified(nn.Module):
    """A real network that also takes complex tensors; on real ones it is the network itself."""

    #: What stands inside is a real network, of which this is the extension.
    extends = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor) -> Tensor:
        """Evaluate the analytic extension, as :func:`holomorph.calculus.jets.analytic_extension` decides."""
        return jets.analytic_extension(self.model)(z) if z.is_complex() else self.model(z)


def complexify(model: nn.Module) -> Complexified:
    r"""A copy of a real network that also takes complex inputs, its analytic extension.

    Affine layers act on Re and Im separately; GELU and sin extend everywhere, growing like $e^{(\mathrm{Im} z)^2/2}$
    and $e^{|\mathrm{Im} z|}$; tanh has poles at $i\pi/2$, sigmoid and SiLU at $i\pi$, softplus branch points at
    $i\pi/\beta$. What a forward function does besides its layers is followed too, and refused by name where it is not
    analytic. The copy has its own parameters. On real inputs it equals the model.

    Parameters
    ----------
    model:
        Any module of real-analytic operations.

    Raises
    ------
    NotHolomorphicError
        Naming the first layer that is known to have no analytic extension, and what to use instead; other operations
        are refused at the first complex input.

    Source: docs/mathematics.md, section 4.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 1))
    >>> complexify(net)(torch.zeros(1, 2, dtype=torch.complex64)).shape
    torch.Size([1, 1])
    """
    for name, layer in model.named_modules():
        if type(layer) in BREAKING and not isinstance(layer, _ANALYTIC):
            raise NotHolomorphicError(
                f"Layer {name!r} ({type(layer).__name__}) has no analytic extension. Use {BREAKING[type(layer)]}."
            )
    return Complexified(copy.deepcopy(model))


def tube_width(extended: Complexified) -> float:
    r"""A $\rho$ such that the extension is holomorphic where all $|\mathrm{Im}\,z_j| < \rho$; infinite for entire ones.

    A bound of |Im| is carried from layer to layer; the true tube may be wider. By the mean value theorem along the
    vertical segment $|\mathrm{Im}\,\sigma(x + it)| \le t \sup|\sigma'|$ over the strip, infinite where the strip of
    half-width t holds a singularity.

    Raises
    ------
    NotHolomorphicError
        For anything but a ``complexify``-ed (nested) ``nn.Sequential`` of known layers.

    Source: docs/mathematics.md, section 4.

    >>> round(tube_width(complexify(nn.Sequential(nn.Tanh()))), 4)
    1.5708
    """
    layers = _in_order(extended.model)
    spreads = [_spread(layer) for layer in layers]
    if not any(isinstance(layer, nn.Tanh | nn.Sigmoid | nn.SiLU | nn.Softplus) for layer in layers):
        return math.inf

    def inside(height: float) -> bool:
        for spread in spreads:
            height = spread(height) if math.isfinite(height) else math.inf
        return math.isfinite(height)

    low, high = 0.0, 1e-9
    while inside(high):
        low, high = high, 2 * high
        if high > 1e3:
            return low
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) else (low, middle)
    return low


def _in_order(module: nn.Module) -> list[nn.Module]:
    if isinstance(module, nn.Sequential):
        return [layer for child in module for layer in _in_order(child)]
    if list(module.children()):
        raise NotHolomorphicError(
            f"The tube is known for complexified nn.Sequential networks only, not for {type(module).__name__}."
        )
    return [module]


def _spread(layer: nn.Module) -> Spread:
    """The largest |Im| of a layer's outputs as a function of that of its inputs."""
    if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | Normalise):
        largest = _row_sum(layer)
        return lambda t: t * largest
    if isinstance(layer, nn.Flatten | nn.Identity | nn.AvgPool1d | nn.AvgPool2d | nn.AdaptiveAvgPool2d | nn.Dropout):
        return lambda t: t
    if isinstance(layer, nn.Softplus):
        beta = float(layer.beta)
        return lambda t: t * _sigmoid_size(beta * t)
    slopes: dict[type[nn.Module], Spread] = {
        nn.GELU: _gelu_stretch,
        Sine: lambda t: math.cosh(t) if t < 700 else math.inf,
        nn.Tanh: lambda t: 1 / math.cos(t) ** 2 if t < math.pi / 2 else math.inf,
        nn.SiLU: _silu_stretch,
        nn.Sigmoid: lambda t: _sigmoid_size(t) ** 2,
    }
    for kind, slope in slopes.items():
        if isinstance(layer, kind) and getattr(layer, "approximate", "none") == "none":
            return lambda t, slope=slope: t * slope(t)  # type: ignore[misc]
    raise NotHolomorphicError(f"The tube of {type(layer).__name__} is not known.")


def _row_sum(layer: nn.Module) -> float:
    """The largest absolute row sum of the weights."""
    if isinstance(layer, Normalise):
        return float((1 / layer.std.abs()).max())
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return float(weight.detach().abs().flatten(1).sum(1).max())


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
