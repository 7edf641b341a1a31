"""``is_holomorphic``: by structure, and by measuring dbar of every layer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holomorph.calculus.wirtinger import cauchy_riemann_residual
from holomorph.contract.model import evaluating
from holomorph.errors import NotDifferentiableError
from holomorph.nn.networks import HolomorphicNetwork

#: Layers that are not complex differentiable, with what to put in their place.
BREAKING: dict[type[nn.Module], str] = {
    nn.ReLU: "an entire activation, such as holomorph.nn.activations.Sin",
    nn.LeakyReLU: "an entire activation, such as holomorph.nn.activations.Sin",
    nn.ELU: "an entire activation, such as holomorph.nn.activations.Sin",
    nn.Hardtanh: "an entire activation, such as holomorph.nn.activations.Sin",
    nn.MaxPool1d: "average pooling",
    nn.MaxPool2d: "average pooling",
    nn.MaxPool3d: "average pooling",
    nn.AdaptiveMaxPool1d: "average pooling",
    nn.AdaptiveMaxPool2d: "average pooling",
    nn.BatchNorm1d: "holomorph.nn.Normalise with fixed statistics",
    nn.BatchNorm2d: "holomorph.nn.Normalise with fixed statistics",
    nn.LayerNorm: "holomorph.nn.Normalise with fixed statistics",
    nn.GroupNorm: "holomorph.nn.Normalise with fixed statistics",
}


@dataclass(frozen=True)
class Holomorphy:
    """What :func:`is_holomorphic` found; true or false in a condition.

    Attributes
    ----------
    holomorphic:
        The answer.
    residual:
        E|dbar h|^2 / E|d h|^2 of the whole map, or None if it could not be evaluated.
    layer:
        Name of the first layer that breaks it, "" for the map as a whole, None if none does.
    reason:
        One sentence.
    """

    holomorphic: bool
    residual: float | None
    layer: str | None
    reason: str

    def __bool__(self) -> bool:
        return self.holomorphic


def is_holomorphic(module: nn.Module, z: Tensor, tolerance: float = 1e-8) -> Holomorphy:
    r"""Whether a module is holomorphic near the complex points z, (batch, ...).

    First the structure: known layers that are not complex differentiable. Then the numbers: the residual
    $E|\bar\partial f|^2/E|\partial f|^2$ of every layer at the inputs it really gets, in order of evaluation, and of
    the whole. A :class:`HolomorphicNetwork` is judged by its hypothesis, without embedding and read-out.

    Parameters
    ----------
    module:
        Complex (batch, ...) to complex (batch, ...).
    z:
        Points; a few generic ones suffice, since a residual that vanishes on an open set vanishes.
    tolerance:
        Largest residual that counts as zero.

    Source: docs/mathematics.md, section 4.

    >>> z = torch.randn(4, 2, dtype=torch.complex128)
    >>> is_holomorphic(nn.Sequential(nn.Flatten(), nn.Tanh()), z).holomorphic
    True
    >>> is_holomorphic(nn.Sequential(nn.Tanh(), nn.ReLU()), z).reason
    "Layer '1' (ReLU) is not complex differentiable. Use an entire activation, such as holomorph.nn.activations.Sin."
    """
    body = module.body if isinstance(module, HolomorphicNetwork) else module
    extended = [f"{name}.".lstrip(".") for name, layer in body.named_modules() if getattr(layer, "extends", False)]
    for name, layer in body.named_modules():
        if type(layer) in BREAKING and not name.startswith(tuple(extended)):
            reason = (
                f"Layer {name!r} ({type(layer).__name__}) is not complex differentiable. Use {BREAKING[type(layer)]}."
            )
            return Holomorphy(False, None, name, reason)
    with evaluating(body):
        inputs = _inputs_of_leaves(body, z)
        for name, (layer, point) in inputs.items():
            residual = _residual(layer, point)
            if residual > tolerance:
                kind = type(layer).__name__
                reason = f"Layer {name!r} ({kind}) has |dbar f|^2/|d f|^2 = {residual:.2g} at its inputs."
                return Holomorphy(False, residual, name, reason)
        whole = _residual(body, z)
    if whole > tolerance:
        return Holomorphy(False, whole, "", f"Between its layers the module breaks holomorphy: residual {whole:.2g}.")
    return Holomorphy(True, whole, None, f"Every layer is holomorphic; residual {whole:.2g} of the whole.")


def _inputs_of_leaves(body: nn.Module, z: Tensor) -> dict[str, tuple[nn.Module, Tensor]]:
    seen: dict[str, tuple[nn.Module, Tensor]] = {}
    names = {layer: name for name, layer in body.named_modules() if not list(layer.children())}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].is_complex():
            seen.setdefault(names[layer], (layer, inputs[0].detach()))

    handles = [layer.register_forward_pre_hook(note) for layer in names]
    try:
        with torch.no_grad():
            body(z)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _residual(f: nn.Module, z: Tensor) -> float:
    """The residual by one random combination of the outputs, drawn with a fixed seed; 0 for a constant map."""
    generator = torch.Generator().manual_seed(0)
    try:
        value = cauchy_riemann_residual(f, z, probes=1, generator=generator).detach()
    except NotDifferentiableError:
        return float("inf")
    return 0.0 if bool(value.isnan()) else float(value)
