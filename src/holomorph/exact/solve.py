"""Kernel systems by Cholesky, with the error that says what to do."""

from __future__ import annotations

import torch
from torch import Tensor

from holomorph.errors import DomainError


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
        raise DomainError("The kernel matrix is singular to working precision. Raise the ridge or the scale.")
    dtype = torch.promote_types(matrix.dtype, right.dtype)
    return torch.cholesky_solve(right.to(dtype), factor.to(dtype))
