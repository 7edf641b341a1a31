r"""Determinants and linear systems by elimination, in elementary operations.

In torch 2.13 and 2.14 the nested forward derivatives of det, logdet, slogdet and linalg.solve are wrong: the factors
that they keep count as constants. The pivots below are chosen at the value, as a permutation that is constant nearby.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from holomorph.errors import ModelError


class SignAndLog(NamedTuple):
    """What slogdet returns."""

    sign: Tensor
    logabsdet: Tensor


def _plain(A: Any) -> Tensor:
    """The numbers alone, of a jet too."""
    found: Tensor = getattr(A, "value", A).detach()
    return found


def _pivots(A: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The sign of the permutation and the n pivots of elimination."""
    with torch.no_grad():
        permutation = torch.linalg.lu(_plain(A))[0].mT
        sign = torch.linalg.det(permutation).round()
    rest, pivots = torch.matmul(permutation, A), []
    for _ in range(A.shape[-1]):
        pivots.append(rest[..., 0, 0])
        rest = rest[..., 1:, 1:] - rest[..., 1:, :1] * (rest[..., :1, 1:] / rest[..., :1, :1])
    return sign, pivots


def det(A: Tensor) -> Tensor:
    """``torch.linalg.det``."""
    sign, pivots = _pivots(A)
    return reduce(torch.mul, pivots) * sign


def logdet(A: Tensor) -> Tensor:
    """``torch.logdet``; NaN where the determinant is negative."""
    return torch.log(det(A))


def slogdet(A: Tensor) -> SignAndLog:
    """``torch.linalg.slogdet``; the logarithm as half of that of the square, which is analytic."""
    sign, pivots = _pivots(A)
    with torch.no_grad():
        signs = reduce(torch.mul, [_plain(p).sign() for p in pivots]) * sign
    return SignAndLog(signs, reduce(torch.add, [p.square().log() / 2 for p in pivots]))


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """``torch.linalg.solve`` by the inverse, whose derivatives torch gets right."""
    if not left:
        raise ModelError("linalg.solve with left=False cannot be followed. Transpose the system.")
    inverse = torch.linalg.inv(A)
    if B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1]):
        return torch.matmul(inverse, B.unsqueeze(-1)).squeeze(-1)
    return torch.matmul(inverse, B)


#: By the names of torch's functions.
DETERMINANTS: dict[str, Callable[..., Any]] = {
    "det": det,
    "linalg_det": det,
    "logdet": logdet,
    "slogdet": slogdet,
    "linalg_slogdet": slogdet,
    "linalg_solve": solve,
}
