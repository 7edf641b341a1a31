"""Input gradients of a model and of its undefended baseline: norms sample by sample, and Dirichlet energies."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holomorph._utils.progress import track
from holomorph._utils.statistics import bootstrap
from holomorph.calculus.derivatives import input_gradient
from holomorph.calculus.energy import dirichlet_energy
from holomorph.calculus.measures import Ball, Measure, Samples
from holomorph.calculus.norms import norm
from holomorph.calculus.observables import observable
from holomorph.contract import Differentiable, check_batch
from holomorph.contract.model import evaluating
from holomorph.records.diagnostics import DiagnosticsRecord, Energy, Gradients
from holomorph.threats import ThreatModel

#: The observables whose energy is reported.
OBSERVED = ("probabilities", "logits", "loss")

_PLACES: tuple[Literal["samples", "ball"], ...] = ("samples", "ball")


def diagnose(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: ThreatModel,
    baseline: nn.Module | None = None,
    batch_size: int = 250,
    seed: int = 0,
) -> DiagnosticsRecord:
    r"""Measure how fast a model's predictions change with its inputs, beside its undefended baseline.

    $$\|\nabla_x \ell(h(x), y)\|_q \text{ of each sample}, \qquad
    D(g) = \mathbb{E}_{x \sim \mu}\,\|\nabla g(x)\|_2^2$$

    g is the probabilities, the logits and the loss; $\mu$ the samples, then the threat's balls around them (one
    point drawn uniformly for each sample, the same for both models). The gradient is summed in square over
    coordinates and components and averaged over samples; there is no factor 1/2.

    Parameters
    ----------
    model, baseline:
        Differentiable maps from a batch in the threat's box to logits. Both are evaluated in evaluation mode and
        left in the mode they were in.
    x, y:
        Samples (batch, ...) and labels (batch,).
    threat:
        Gives the dual norm, the ball and the box.
    batch_size:
        Samples at a time; one backward pass for each class.
    seed:
        Of the drawn points and of the resampling behind the 95 % intervals (bootstrap over samples).

    Raises
    ------
    DataError
        For samples outside the box, not finite, or without labels.

    Source: docs/mathematics.md, sections 1 and 2.

    Examples
    --------
    >>> model = nn.Linear(2, 2, bias=False).double()
    >>> model.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]]).double()
    >>> x = torch.rand(5, 2, dtype=torch.float64)
    >>> record = diagnose(model, x, torch.zeros(5, dtype=torch.long), threat=ThreatModel("inf", 0.1))
    >>> [round(e.interval.value, 6) for e in record.model.energies if e.observable == "logits"]
    [25.0, 25.0]
    """
    check_batch(x, y, box=threat.box)

    def gradients(net: nn.Module, name: str) -> Gradients:
        return _gradients(net, x, y, threat=threat, batch_size=batch_size, seed=seed, name=name)

    return DiagnosticsRecord(
        threat=threat,
        samples=len(x),
        seed=seed,
        model=gradients(model, "model"),
        baseline=None if baseline is None else gradients(baseline, "baseline"),
    )


def _gradients(
    model: nn.Module, x: Tensor, y: Tensor, *, threat: ThreatModel, batch_size: int, seed: int, name: str
) -> Gradients:
    generator = torch.Generator().manual_seed(seed)
    measures: dict[str, Measure] = {"samples": Samples(), "ball": Ball(threat)}
    squares: dict[tuple[str, str], list[Tensor]] = {(what, place): [] for what in OBSERVED for place in _PLACES}
    norms: list[Tensor] = []
    with evaluating(model), torch.no_grad():
        for start in track(range(0, len(x), batch_size), f"input gradients of the {name}"):
            xs, ys = x[start : start + batch_size], y[start : start + batch_size]
            norms.append(norm(input_gradient(_of_model(model, "loss", ys), xs), threat.q))
            for place in _PLACES:
                points = measures[place].draw(xs, generator)
                for what in OBSERVED:
                    squares[what, place].append(dirichlet_energy(_of_model(model, what, ys), points).each)
    energies = tuple(
        Energy(observable=what, place=place, interval=bootstrap(np.mean, _numbers(values), seed=seed))
        for (what, place), values in squares.items()
    )
    return Gradients(norms=tuple(_numbers(norms)), energies=energies)


def _of_model(model: nn.Module, what: str, y: Tensor) -> Differentiable:
    """The observable as a function of the input, (batch, components)."""
    observe = observable(what)
    return lambda x: observe(model(x), y).reshape(len(x), -1)


def _numbers(batches: list[Tensor]) -> NDArray[np.float64]:
    return torch.cat(batches).cpu().double().numpy()
