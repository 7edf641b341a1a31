r"""Where a model keeps its Dirichlet energy: on the samples, on the threat's balls, on segments between classes.

Spikes and plateaus cost nothing where nobody looks: a network can be flat on the samples and steep around them. The
*spike index* is the energy on the balls over that on the samples.
"""

import numpy as np
import torch
from torch import Tensor

from holomorph._utils.progress import track
from holomorph._utils.seeding import generator
from holomorph._utils.statistics import Array, bootstrap
from holomorph.calculus.derivatives import jacobian
from holomorph.calculus.measures import Ball, Measure, Samples, Segments
from holomorph.contract import Differentiable
from holomorph.records.explanation import Energies, Place, Where
from holomorph.threats import ThreatModel


def energies(
    model: Differentiable, x: Tensor, y: Tensor, threat: ThreatModel, *, batch_size: int = 250, seed: int = 0
) -> Energies:
    r"""Measure $E_\mu |\nabla p|^2$, p = softmax h, on samples, balls and segments, and how it is spread.

    Sum over classes and coordinates, mean over points; one point is drawn for each sample.

    Parameters
    ----------
    model, x, y:
        Logits (batch, K); samples in the threat's box; labels of at least two classes.
    threat:
        The balls.
    batch_size:
        Samples at a time; K gradients of each are held.

    Raises
    ------
    DataError
        If there is one class only.

    Source: docs/mathematics.md, section 2; the spike index is ours.

    Examples
    --------
    >>> x, y = torch.rand(8, 2), torch.arange(8) % 2
    >>> flat = energies(torch.nn.Linear(2, 2), x, y, ThreatModel("inf", 0.01))
    >>> 0.9 < flat.spike_index.value < 1.1
    True
    """
    squares = {name: _squares(model, x, y, measure, name, batch_size, seed) for name, measure in _places(threat)}
    totals = {name: s.flatten(1).sum(1).cpu().double().numpy() for name, s in squares.items()}
    pixels = squares["samples"].mean(0)
    return Energies(
        threat=threat,
        places=tuple(_place(name, totals[name], seed) for name, _ in _places(threat)),
        spike_index=bootstrap(_ratio, totals["balls"], totals["samples"], seed=seed),
        top_pixels=top_tenth(pixels.flatten().cpu().double().numpy()),
        shape=tuple(x.shape[1:]),
        map=tuple(float(v) for v in pixels.flatten()),
    )


def top_tenth(values: Array) -> float:
    """Return the share of the sum that the largest tenth (at least one) of the values carries; 0 of nothing.

    >>> top_tenth(np.ones(20))
    0.1
    """
    total = float(values.sum())
    count = max(1, round(len(values) / 10))
    return float(np.sort(values)[-count:].sum()) / total if total > 0 else 0.0


def _places(threat: ThreatModel) -> list[tuple[Where, Measure]]:
    return [("samples", Samples()), ("balls", Ball(threat)), ("segments", Segments())]


def _place(name: Where, totals: Array, seed: int) -> Place:
    energy = bootstrap(lambda v: float(v.mean()), totals, seed=seed)
    return Place(where=name, energy=energy, top_tenth=top_tenth(totals))


def _ratio(above: Array, below: Array) -> float:
    return float(above.mean() / below.mean()) if below.mean() > 0 else float("nan")


def _squares(
    model: Differentiable, x: Tensor, y: Tensor, measure: Measure, name: str, batch_size: int, seed: int
) -> Tensor:
    """The squared derivatives summed over classes, by coordinate; shape of x."""
    points = measure.draw(x, generator(seed, f"energy on {name}"), y)
    starts = range(0, len(x), batch_size)
    with torch.no_grad():
        parts = [
            jacobian(lambda z: model(z).softmax(1), points[i : i + batch_size]).square().sum(1)
            for i in track(starts, f"energy on {name}")
        ]
    return torch.cat(parts).cpu()
