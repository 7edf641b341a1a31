"""Taylor polynomials of a function along rays, for a whole batch at once."""

from collections.abc import Callable

import torch
from torch import Tensor

from holomorph.calculus.lines import along_line


def taylor(f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, degree: int) -> Tensor:
    r"""Coefficients $c_k = \frac{1}{k!} \frac{d^k}{du^k} f(x + u v)|_{u=0}$, by nested forward differentiation.

    Parameters
    ----------
    f:
        One number a sample, (batch, ...) -> (batch,); samples do not influence each other.
    x, v:
        Points and directions, (batch, ...).
    degree:
        The highest k. The cost grows like 2^degree evaluations of f.

    Returns
    -------
    (batch, degree + 1)

    Source: docs/mathematics.md, section 5.

    Examples
    --------
    >>> taylor(lambda x: x[:, 0] ** 3, torch.tensor([[1.0]]), torch.tensor([[2.0]]), 3)
    tensor([[ 1.,  6., 12.,  8.]])
    """
    with torch.no_grad():
        return along_line(f, x, v, degree).detach().movedim(0, 1)
