"""Input gradients of a model and of its undefended twin: norms sample by sample, and Dirichlet energies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from holomorph.calculus.measures import Ball, Measure, Samples
from holomorph.calculus.norms import norm
from holomorph.calculus.observables import observable
from holomorph.progress import track
from holomorph.records.diagnostics import DiagnosticsRecord, Energy, Gradients
from holomorph.types import Interval, ThreatModel, check_batch

#: The observables whose energy is reported.
OBSERVED = ("probabilities", "logits", "loss")

_PLACES: tuple[Literal["samples", "ball"], ...] = ("samples", "ball")
_RESAMPLES = 1000


def diagnose(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: ThreatModel,
    twin: nn.Module | None = None,
    batch_size: int = 250,
    seed: int = 0,
) -> DiagnosticsRecord:
    r"""Measure how fast a model's answers change with its inputs, beside its undefended twin.

    $$\|\nabla_x \ell(h(x), y)\|_q \text{ of each sample}, \qquad
    D(g) = \mathbb{E}_{x \sim \mu}\,\|\nabla g(x)\|_2^2$$

    g is the probabilities, the logits and the loss; $\mu$ the samples, then the threat's balls around them (one
    point drawn uniformly for each sample, the same for both models). The gradient is summed in square over
    coordinates and components and averaged over samples; there is no factor 1/2.

    Parameters
    ----------
    model, twin:
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
        twin=None if twin is None else gradients(twin, "twin"),
    )


def _gradients(
    model: nn.Module, x: Tensor, y: Tensor, *, threat: ThreatModel, batch_size: int, seed: int, name: str
) -> Gradients:
    generator = torch.Generator().manual_seed(seed)
    measures: dict[str, Measure] = {"samples": Samples(), "ball": Ball(threat)}
    squares: dict[tuple[str, str], list[Tensor]] = {(o, p): [] for o in OBSERVED for p in _PLACES}
    norms: list[Tensor] = []
    batches = range(0, len(x), batch_size)
    with _evaluation_mode(model):
        for start in track(batches, f"input gradients of the {name}"):
            xs, ys = x[start : start + batch_size], y[start : start + batch_size]
            for place in _PLACES:
                point = measures[place].draw(xs, generator).detach().requires_grad_()
                outputs = model(point)
                for what in OBSERVED:
                    rows = _gradient_rows(observable(what)(outputs, ys), point)
                    squares[what, place].append(torch.stack([norm(row, 2.0).square() for row in rows]).sum(0))
                    if what == "loss" and place == "samples":
                        norms.append(norm(rows[0], threat.q))
    energies = tuple(
        Energy(observable=what, place=place, interval=_bootstrap(torch.cat(squares[what, place]), seed))
        for what in OBSERVED
        for place in _PLACES
    )
    return Gradients(norms=tuple(torch.cat(norms).tolist()), energies=energies)


def _gradient_rows(g: Tensor, x: Tensor) -> list[Tensor]:
    """The gradient of each component of g, one tensor of the shape of x for each."""
    components = [g] if g.ndim == 1 else list(g.unbind(1))
    return [torch.autograd.grad(component.sum(), x, retain_graph=True)[0] for component in components]


def _bootstrap(values: Tensor, seed: int, level: float = 0.95) -> Interval:
    """The mean with a percentile bootstrap interval: energies have heavy tails, a normal interval may go below 0."""
    v = values.detach().double().cpu()
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(len(v), (_RESAMPLES, len(v)), generator=generator)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = v[draws].mean(1).quantile(ends).tolist()
    return Interval(value=v.mean().item(), low=low, high=high, level=level)


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
