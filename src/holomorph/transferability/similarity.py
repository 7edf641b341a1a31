r"""Are two robust models near-minimisers with near-equal gradients? The parallelogram bound with its numbers.

Let D(f), D(g) <= m + t, and let no function that fits the labels have energy below m. The average (f + g)/2 fits them
too, so D(f - g) = 2 D(f) + 2 D(g) - 4 D((f + g)/2) <= 4 t. Nobody knows m. The smallest energy among the competitors
at hand, models and their averages, is at least m; so 4 t computed with it is the *least* that the bound can be. If even
that exceeds 2 D(f) + 2 D(g), which holds for any two functions, the bound says nothing.
"""

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from holomorph._utils.seeding import generator
from holomorph.calculus.measures import Ball
from holomorph.records.transfer import ParallelogramBound
from holomorph.threats import ThreatModel


def parallelogram_bounds(
    models: Mapping[str, nn.Module], x: Tensor, threat: ThreatModel, *, batch_size: int = 250, seed: int = 0
) -> list[ParallelogramBound]:
    r"""Return the parallelogram bound of each pair, for the energy of the probabilities over the threat's balls.

    The competitors are the models and their pairwise averages. All gradients of one batch are held at once: models x
    classes x inputs numbers a sample.

    Source: docs/mathematics.md, section 7; our derivation.

    Examples
    --------
    >>> one = nn.Linear(3, 2)
    >>> near = parallelogram_bounds({"f": one, "g": one}, torch.rand(4, 3), ThreatModel("inf", 0.1))
    >>> round(near[0].of_difference, 6), near[0].bound, round(near[0].alignment, 6)
    (0.0, 0.0, 1.0)
    """
    draws = generator(seed, "parallelogram_bounds")
    measure = Ball(threat)
    gram = torch.zeros(len(models), len(models), dtype=torch.float64)
    for start in range(0, len(x), batch_size):
        point = measure.draw(x[start : start + batch_size], draws)
        gradients = torch.stack([_gradients(model, point) for model in models.values()])
        gram += (gradients @ gradients.T).cpu().double()
    gram /= len(x)
    average = (gram.diag()[:, None] + gram.diag()[None, :] + 2 * gram) / 4  # of (f + g)/2; the diagonal is f itself
    least = float(average.min())
    names = list(models)
    return [_pair(names[i], names[j], gram[i, i], gram[j, j], gram[i, j], least) for i, j in _pairs(len(names))]


def _pairs(size: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(size), 2))


def _pair(f: str, g: str, ff: Tensor, gg: Tensor, fg: Tensor, least: float) -> ParallelogramBound:
    trivial = float(2 * ff + 2 * gg)
    bound = 4 * (float(max(ff, gg)) - least)
    return ParallelogramBound(
        pair=(f, g),
        energies=(float(ff), float(gg)),
        of_difference=max(float(ff + gg - 2 * fg), 0.0),
        alignment=float(fg / (ff * gg).sqrt().clamp_min(torch.finfo(torch.float64).tiny)),
        trivial=trivial,
        bound=bound,
        vacuous=bound >= trivial,
    )


def _gradients(model: nn.Module, x: Tensor) -> Tensor:
    """All gradients of all probabilities at all samples, as one long vector."""
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        p = model(leaf).softmax(1)
        rows = [torch.autograd.grad(p[:, k].sum(), leaf, retain_graph=True)[0] for k in range(p.shape[1])]
    return torch.cat([row.flatten() for row in rows])
