"""The pictures of ``holomorph geometry``: domain colouring, boundaries with attack paths, histograms of angles."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from holomorph._utils.io import write_atomically
from holomorph.nn.networks import HolomorphicNetwork
from holomorph.research.geometry import DiscImage, grid_points, steepest_path
from holomorph.research.planar import Planar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLASSES = ["#1f5a8c", "#c4622d", "#4f7f3a"]
_MODELS = ["#1f5a8c", "#c4622d", "#4f7f3a", "#7a5195"]


def domain_colours(h: Tensor) -> np.ndarray:
    r"""Colour complex numbers (rows, columns): hue by argument, brightness by $\log_2|h|$ modulo 1; RGB in [0, 1].

    >>> domain_colours(torch.ones(1, 1, dtype=torch.complex128)).shape
    (1, 1, 3)
    """
    from matplotlib.colors import hsv_to_rgb

    value = h.numpy()
    hue = (np.angle(value) / (2 * np.pi)) % 1.0
    size = np.log2(np.maximum(np.abs(value), 1e-12))
    brightness = 0.75 + 0.2 * (size - np.floor(size))
    return np.asarray(hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.45), brightness], -1)))


def draw(
    data: Planar, models: Mapping[str, nn.Module], angles: Mapping[str, Tensor], path: Path, disc: DiscImage | None
) -> None:
    """Draw one data set: h itself, each model's boundary with attack paths, and the angles; saved as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.4), layout="constrained")
    axes: list[Any] = list(figure.subplots(2, 3).flat)
    first = next(model for model in models.values() if isinstance(model, HolomorphicNetwork))
    _hypothesis(axes[0], data, first)
    for place, (name, model) in zip(axes[1:5], models.items(), strict=False):
        _boundary(place, data, name, model)
    _histogram(axes[5], angles)
    area = "" if disc is None else f"; the unit disc has an image of area {disc.area:.5g} and energy {disc.energy:.5g}"
    figure.suptitle(data.name + area)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=90, metadata={"Software": None})
    write_atomically(path, stream.getvalue())


def _hypothesis(axes: Axes, data: Planar, model: HolomorphicNetwork, side: int = 160) -> None:
    x = grid_points((-2.5, 2.5), side)
    with torch.no_grad():
        h = model.hypothesis(model.embed(x))[:, 0].reshape(side, side)
    extent = (-2.5, 2.5, -2.5, 2.5)
    axes.imshow(domain_colours(h), origin="lower", extent=extent, interpolation="bilinear")
    line = np.linspace(-2.5, 2.5, side)
    axes.contour(line, line, h.real.numpy(), levels=[0.0], colors="black", linewidths=1.8)
    axes.contour(line, line, h.imag.numpy(), levels=[0.0], colors="white", linewidths=1.4, linestyles="dashed")
    _samples(axes, data)
    axes.set_title("h: argument as hue; Re h = 0 solid, Im h = 0 dashed", fontsize=9)


def _boundary(axes: Axes, data: Planar, name: str, model: nn.Module, side: int = 160) -> None:
    x = grid_points((-2.5, 2.5), side)
    with torch.no_grad():
        prediction = model(x).argmax(1).reshape(side, side).numpy()
    line = np.linspace(-2.5, 2.5, side)
    for k in range(data.classes):
        axes.contour(line, line, (prediction == k).astype(float), levels=[0.5], colors="black", linewidths=1.2)
    path = steepest_path(model, data.x[:24], data.y[:24]).numpy()
    for k in range(path.shape[1]):
        axes.plot(path[:, k, 0], path[:, k, 1], color="#22262b", linewidth=0.7, alpha=0.8)
    curve = data.curve.reshape(data.classes, -1, 2).numpy()
    for part in curve:
        axes.plot(part[:, 0], part[:, 1], color="#6b7280", linewidth=0.8, linestyle=":")
    _samples(axes, data)
    axes.set_title(name, fontsize=9)


def _samples(axes: Axes, data: Planar) -> None:
    for k in range(data.classes):
        mine = data.x[data.y == k].numpy()
        axes.scatter(mine[:, 0], mine[:, 1], s=7, color=_CLASSES[k], edgecolors="white", linewidths=0.3, zorder=3)
    axes.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal", xticks=[], yticks=[])


def _histogram(axes: Axes, angles: Mapping[str, Tensor]) -> None:
    for (name, values), colour in zip(angles.items(), _MODELS, strict=False):
        if len(values):
            label = f"{name}: median {float(values.median()):.0f}°"
            share = np.full(len(values), 1 / len(values))
            axes.hist(values.numpy(), bins=18, range=(0, 90), weights=share, histtype="step", color=colour, label=label)
    axes.set(xlabel="angle between boundary and data curve, degrees", ylabel="share of the boundary near it")
    axes.legend(fontsize=8, frameon=False)
