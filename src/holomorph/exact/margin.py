r"""The machine with a squared hinge and without intercept, by Newton's method: exact, in finitely many steps.

$$\min_\alpha \frac1N\sum_i \max(0, 1 - y_i f_i)^2 + \rho\,\alpha^T G\alpha,\qquad f = G\alpha$$

The objective is convex and piecewise quadratic. Between its kinks it is a ridge regression on the samples inside the
margin, $(G_{SS} + N\rho I)\alpha_S = y_S$, whose solution is Newton's step; with a line search finitely many steps
reach the minimum (Mangasarian 2002; Chapelle 2007).
"""

import torch
from torch import Tensor

from holomorph.errors import DomainError
from holomorph.exact.solve import solve_kernel


def squared_hinge(gram: Tensor, signs: Tensor, ridge: float, steps: int = 100, weights: Tensor | None = None) -> Tensor:
    r"""The coefficients alpha of one machine a column.

    Parameters
    ----------
    gram:
        G, (N, N), real, symmetric, positive semi-definite.
    signs:
        y, (N, machines), -1 or +1.
    ridge:
        rho > 0.
    steps:
        Of Newton's method at most.
    weights:
        Of the samples, positive, (N,); 1 unless given. They multiply the terms of the mean.

    Returns
    -------
    (N, machines). At the minimum $\alpha_i = y_i\max(0, 1 - y_i f_i)/(N\rho)$, so that samples beyond the margin have
    none.

    Raises
    ------
    DomainError
        If the steps do not suffice, or the Gram matrix is singular to working precision.

    Source: docs/mathematics.md, section 4.

    >>> alpha = squared_hinge(torch.eye(2, dtype=torch.float64), torch.tensor([[1.0], [-1.0]]).double(), 0.5)
    >>> [round(a, 9) for a in alpha.flatten().tolist()]
    [0.5, -0.5]
    """
    w = torch.ones_like(gram[0]) if weights is None else weights
    first = solve_kernel(
        _ridged(gram, len(gram) * ridge / w), signs
    )  # all samples inside the margin: the same matrix for every machine
    columns = [_newton(gram, y, ridge, a, steps, w) for y, a in zip(signs.mT, first.mT, strict=True)]
    return torch.stack(columns, 1)


def _newton(gram: Tensor, y: Tensor, ridge: float, alpha: Tensor, steps: int, w: Tensor) -> Tensor:
    image = gram @ alpha
    size = len(y) * ridge / w
    for _ in range(steps):
        inside = (y * image < 1).nonzero()[:, 0]
        target = torch.zeros_like(alpha)
        target[inside] = solve_kernel(_ridged(gram[inside[:, None], inside], size[inside]), y[inside, None])[:, 0]
        reached = gram[:, inside] @ target[inside]
        # Sums of large terms are known up to their rounding only.
        rounding = 100 * torch.finfo(gram.dtype).eps * (gram[:, inside].abs() @ target[inside].abs()).max()
        if bool((size * target - y * (1 - y * reached).clamp_min(0)).abs().max() < rounding.clamp_min(1e-10)):
            return target
        alpha, image = _line_search(y, ridge, w, (alpha, image), (target, reached))
    raise DomainError(f"The margin was not found in {steps} Newton steps. Raise the ridge.")


def _line_search(
    y: Tensor, ridge: float, w: Tensor, start: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Halve the step until the objective falls; each pair holds alpha and G alpha."""

    def objective(alpha: Tensor, image: Tensor) -> Tensor:
        return (w * (1 - y * image).clamp_min(0).square()).mean() + ridge * alpha @ image

    before, share, point = objective(*start), 1.0, target
    while share > 1e-8 and objective(*point) >= before:
        share /= 2
        point = (torch.lerp(start[0], target[0], share), torch.lerp(start[1], target[1], share))
    return point


def _ridged(gram: Tensor, ridge: Tensor) -> Tensor:
    matrix = gram.clone()
    matrix.diagonal().add_(ridge)
    return matrix
