r"""How far a model's logits are from harmonic, strongly and weakly.

Strongly: sphere means against centres, the Laplacian, the maximum principle. Weakly: does some multiple of the
Dirichlet energy balance the pull of the labels for all test functions,
$E[\partial_h\ell\cdot\varphi] + \lambda D(h, \varphi) = 0$?
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from holomorph._utils.progress import bar
from holomorph._utils.seeding import generator
from holomorph._utils.statistics import Array, bootstrap
from holomorph.calculus.derivatives import jacobian
from holomorph.calculus.laplacian import laplacian
from holomorph.calculus.measures import Ball
from holomorph.calculus.norms import noise_length
from holomorph.calculus.spheres import maximum_principle_violations, mean_value_gap
from holomorph.contract import Differentiable
from holomorph.records.base import Interval
from holomorph.records.explanation import Harmonicity
from holomorph.threats import ThreatModel

_RADII = (0.25, 0.5, 1.0)


def harmonicity(
    model: Differentiable,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    directions: int = 16,
    tests: int = 32,
    batch_size: int = 250,
    seed: int = 0,
) -> Harmonicity:
    r"""Measure the mean-value gap, the Laplacian, the maximum principle and the weak form.

    On spheres of Euclidean radius R, R/2, R/4, R that of the l_2 ball around which uniform noise of the threat
    concentrates (eps for l_2, $\varepsilon\sqrt{n/3}$ for l_inf, $\varepsilon\sqrt{2n/((n+1)(n+2))}$ for l_1). The gap
    is relative to the first-order change along a radius: $\mathrm{rms}(E_v h(x + rv) - h(x)) / (r \sqrt{D(h)/n})$;
    harmonic functions have 0. With few directions noise of relative size about $1/\sqrt{2\,\text{directions}}$ of the
    second-order term remains.

    Parameters
    ----------
    model, x, y, threat:
        Logits (batch, K); samples in the threat's box; labels.
    directions:
        Pairs of antipodal points on each sphere, and probes of the Laplacian.
    tests:
        Test functions for each output, cosines with random frequencies.

    Source: docs/mathematics.md, sections 2 and 3.

    Examples
    --------
    >>> saddle = lambda x: torch.stack([x[:, 0] ** 2 - x[:, 1] ** 2, 2 * x[:, 0] * x[:, 1]], 1)
    >>> x, y = torch.rand(6, 2, dtype=torch.float64), torch.arange(6) % 2
    >>> found = harmonicity(saddle, x, y, ThreatModel(2, 0.1), directions=400)
    >>> found.mean_value_gap[-1].value < 0.01, found.maximum_violations
    (True, 0.0)
    """
    largest = noise_length(x, threat)
    radii = [share * largest for share in _RADII]
    draws = generator(seed, "harmonicity")
    n = x[0].numel()
    gaps: list[list[Tensor]] = [[] for _ in radii]
    curved, slopes, over, under = [], [], [], []
    starts = range(0, len(x), batch_size)
    with torch.no_grad(), bar("harmonicity", total=len(starts)) as progress:
        for i in starts:
            part = x[i : i + batch_size]
            for k, r in enumerate(radii):
                gaps[k].append(mean_value_gap(model, part, r, directions, draws))
            curved.append(laplacian(model, part, "hutchinson", probes=directions, generator=draws))
            slopes.append(jacobian(model, part).square().flatten(2).sum(2))
            over.append(maximum_principle_violations(model, part, largest, 8, 5, draws).ascended * len(part))
            upside_down = maximum_principle_violations(lambda z: -model(z), part, largest, 8, 5, draws)
            under.append(upside_down.ascended * len(part))
            progress.advance()
    slope = torch.cat(slopes).cpu().double().numpy()
    residual, weight = weak_residual(model, x, y, threat, tests=tests, batch_size=batch_size, seed=seed)
    return Harmonicity(
        radii=tuple(radii),
        mean_value_gap=tuple(_relative(_array(g), slope, r, n, seed) for g, r in zip(gaps, radii, strict=True)),
        laplacian_residual=_relative(_array(curved) * largest**2 / (2 * n), slope, largest, n, seed),
        maximum_violations=float(torch.stack(over).sum(0).mean()) / len(x),
        minimum_violations=float(torch.stack(under).sum(0).mean()) / len(x),
        weak_residual=residual,
        weight=weight,
    )


def weak_residual(
    model: Differentiable,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    tests: int = 32,
    batch_size: int = 250,
    seed: int = 0,
) -> tuple[float, float]:
    r"""Return the relative residual of the weak form, and the weight $\lambda \ge 0$ that makes it least.

    With a_j = E[(p - e_y)_k psi_j] and b_j = E<grad h_k, grad psi_j> over the threat's balls, normalised by
    (E|grad psi_j|^2)^(1/2), the residual is the least $|a + \lambda b| / |a|$: 0 for a minimiser of
    $E\ell + \tfrac\lambda2 D(h)$, 1 where no energy balances the labels. Test functions are
    $\cos(\langle w, x\rangle + c)$, w Gaussian with wave length about the samples' spread.

    Source: docs/mathematics.md, section 2.
    """
    draws = generator(seed, "weak form")
    measure = Ball(threat)
    flat = x.flatten(1)
    w = torch.randn(tests, flat.shape[1], generator=draws, dtype=x.dtype).to(x.device)
    w = w / (flat @ w.T).std(0, correction=0).clamp_min(1e-12)[:, None]
    c = 2 * math.pi * torch.rand(tests, generator=draws, dtype=x.dtype).to(x.device)
    pull = energy = x.new_zeros(())
    norms = x.new_zeros(tests)
    with torch.no_grad():
        for i in range(0, len(x), batch_size):
            point = measure.draw(x[i : i + batch_size], draws)
            logits = model(point)
            source = logits.softmax(1) - one_hot(y[i : i + batch_size], logits.shape[1])
            phase = point.flatten(1) @ w.T + c
            along = jacobian(model, point).flatten(2) @ w.T  # (batch, outputs, tests)
            pull = pull + source.T @ phase.cos()
            energy = energy - (along * phase.sin()[:, None, :]).sum(0)
            norms += phase.sin().square().sum(0) * w.square().sum(1)
    scale = (norms * len(x)).sqrt().clamp_min(torch.finfo(x.dtype).tiny)
    a, b = (pull / scale).flatten().cpu().double().numpy(), (energy / scale).flatten().cpu().double().numpy()
    return _least(a, b)


def _least(a: Array, b: Array) -> tuple[float, float]:
    """Return min over lambda >= 0 of |a + lambda b| / |a|, and the minimiser."""
    size = float(np.linalg.norm(a))
    weight = max(0.0, -float(a @ b) / float(b @ b)) if b.any() else 0.0
    return (float(np.linalg.norm(a + weight * b)) / size if size > 0 else 0.0), weight


def _array(parts: Sequence[Tensor]) -> Array:
    return np.asarray(torch.cat(list(parts)).cpu().double().numpy())


def _relative(gap: Array, slope: Array, radius: float, n: int, seed: int) -> Interval:
    """Bootstrap the root mean square of the gap over the first-order change along a radius."""

    def ratio(g: Array, s: Array) -> float:
        first = radius * math.sqrt(s.mean() / n)
        return float(np.sqrt(np.square(g).mean()) / first) if first > 0 else float("nan")

    return bootstrap(ratio, gap, slope, seed=seed)
