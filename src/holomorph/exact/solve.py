"""Kernel systems by Cholesky, with the error that says what to do, and what is left of a span that is singular."""

import torch
from torch import Tensor

from holomorph.errors import DomainError


def weighed(z: Tensor, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Samples and targets without those of weight 0, and the weights of the rest with mean 1; 1 unless given.

    >>> weighed(torch.zeros(3, 1), torch.zeros(3, 1), torch.tensor([0.0, 1.0, 3.0]))[2]
    tensor([0.5000, 1.5000])
    """
    if weights is None:
        return z, targets, torch.ones(len(z), dtype=z.real.dtype)
    kept = weights > 0
    return z[kept], targets[kept], (weights[kept] / weights[kept].mean()).to(z.real.dtype)


def solve_kernel(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve a positive definite system (N, N), real or complex, for right sides (N, outputs).

    Raises
    ------
    DomainError
        If the matrix is not positive definite to working precision.

    >>> solve_kernel(torch.tensor([[2.0]]), torch.tensor([[1.0]])).item()
    0.5
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        raise DomainError("The kernel matrix is singular to working precision. Raise the ridge or lower the scale.")
    dtype = torch.promote_types(matrix.dtype, right.dtype)
    return torch.cholesky_solve(right.to(dtype), factor.to(dtype))


def orthonormal(inner: Tensor) -> Tensor:
    r"""Combine functions with these inner products (N, N) to orthonormal ones, as many as rounding leaves: (N, rank).

    The columns are $D U \Lambda^{-1/2}$ with $D G D = U \Lambda U^*$ of unit diagonal; eigenvalues below N times the
    precision are left out.

    >>> orthonormal(torch.tensor([[4.0, 4.0], [4.0, 4.0]])).abs()
    tensor([[0.2500],
            [0.2500]])
    """
    size = inner.diagonal().real.sqrt()
    values, vectors = torch.linalg.eigh(inner / (size[:, None] * size))
    kept = values > len(inner) * torch.finfo(values.dtype).eps * values[-1]
    return vectors[:, kept] / (size[:, None] * values[kept].sqrt())
