r"""Entire and meromorphic functions of complex tensors that torch lacks: erf, GELU, softplus, softmax and kin.

Every function takes real or complex tensors; real ones go to torch's own kernel. All are elementwise or act
along one dimension, overflow-safe in the real part, and differentiable as often as one likes: the derivative
of erf is written down, the others are compositions.

Source: docs/mathematics.md, section 4. The rational approximation of the Faddeeva function
$w(z) = e^{-z^2}\operatorname{erfc}(-iz)$ is that of J. A. C. Weideman, SIAM J. Numer. Anal. 31 (1994).
"""

import functools
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from holomorph.errors import DomainError

_TERMS = {torch.complex64: 18, torch.complex128: 40}
_SERIES = {torch.complex64: 12, torch.complex128: 21}


@functools.cache
def _weideman(terms: int) -> tuple[list[float], float]:
    """Coefficients (highest power first) and scale L of the approximation of w with this many terms."""
    half = 2 * terms
    scale = math.sqrt(terms / math.sqrt(2))
    t = scale * np.tan(np.arange(-half + 1, half) * np.pi / half / 2)
    density = np.concatenate([[0.0], np.exp(-(t**2)) * (scale**2 + t**2)])
    series = np.real(np.fft.fft(np.fft.fftshift(density))) / (2 * half)
    return [float(c) for c in series[terms:0:-1]], scale


def _faddeeva(z: Tensor) -> Tensor:
    """w(z) in the closed upper half plane."""
    coefficients, scale = _weideman(_TERMS[z.dtype])
    iz = torch.complex(-z.imag, z.real)
    below = scale - iz
    ratio = (scale + iz) / below
    p = torch.full_like(z, coefficients[0])
    for c in coefficients[1:]:
        p = p * ratio + c
    return (2 * p / below + 1 / math.sqrt(math.pi)) / below


def _erf_near_zero(z: Tensor) -> Tensor:
    """The Maclaurin series, for |z| < 1."""
    square, term, total = -z * z, z, z
    for k in range(1, _SERIES[z.dtype] + 1):
        term = term * square / k
        total = total + term / (2 * k + 1)
    return total * (2 / math.sqrt(math.pi))


class _ErrorFunction(torch.autograd.Function):
    """erf, or erfc = 1 - erf without cancellation, of a complex tensor."""

    @staticmethod
    def forward(z: Tensor, complement: bool) -> Tensor:
        near, right = z.abs() < 1, z.real >= 0
        folded = torch.where(right, z, -z)
        argument = torch.where(near, torch.ones_like(z), torch.complex(-folded.imag, folded.real))
        tail = torch.exp(-z * z) * _faddeeva(argument)  # erfc of the folded z
        series = _erf_near_zero(torch.where(near, z, torch.zeros_like(z)))
        if complement:
            return torch.where(near, 1 - series, torch.where(right, tail, 2 - tail))
        return torch.where(near, series, torch.where(right, 1 - tail, tail - 1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.factor = (-2 if inputs[1] else 2) / math.sqrt(math.pi)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        return grads[0] * torch.exp(-z * z).conj() * ctx.factor, None


def erf(z: Tensor) -> Tensor:
    r"""The error function $\frac{2}{\sqrt\pi}\int_0^z e^{-t^2}\,dt$, entire.

    Relative error about 1e-15 in complex128, 1e-6 in complex64. It grows like $e^{(\Im z)^2 - (\Re z)^2}$
    and is infinite or NaN where that exceeds the range of the type.

    Source: docs/mathematics.md, section 4.

    >>> erf(torch.tensor([1j], dtype=torch.complex128)).imag.item()  # 1.6504257587975428...
    1.65042575879754...
    """
    if not z.is_complex():
        return torch.erf(z)
    result: Tensor = _ErrorFunction.apply(z, False)  # type: ignore[no-untyped-call]
    return result


def erfc(z: Tensor) -> Tensor:
    r"""$1 - \operatorname{erf}(z)$, entire, with small relative error where it is small.

    Source: docs/mathematics.md, section 4.

    >>> erfc(torch.tensor([5 + 0j])).real
    tensor([1.5375e-12])
    """
    if not z.is_complex():
        return torch.erfc(z)
    result: Tensor = _ErrorFunction.apply(z, True)  # type: ignore[no-untyped-call]
    return result


def gelu(z: Tensor, approximate: str = "none") -> Tensor:
    r"""$z\,\Phi(z) = \frac z2\bigl(1 + \operatorname{erf}(z/\sqrt2)\bigr)$, entire; with "tanh" meromorphic.

    Source: docs/mathematics.md, section 4.

    >>> gelu(torch.tensor([0.5 + 0j])).real.allclose(torch.nn.functional.gelu(torch.tensor([0.5])))
    True
    """
    if not z.is_complex():
        return F.gelu(z, approximate=approximate)
    if approximate == "tanh":
        return 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    return 0.5 * z * erfc(z * (-1 / math.sqrt(2)))


def sigmoid(z: Tensor) -> Tensor:
    r"""$1/(1+e^{-z})$, meromorphic with poles at the odd multiples of $i\pi$.

    Source: docs/mathematics.md, section 4.

    >>> sigmoid(torch.tensor([-1000.0 + 1j, 0j, 1000.0 + 1j])).real
    tensor([0.0000, 0.5000, 1.0000])
    """
    if not z.is_complex():
        return torch.sigmoid(z)
    right, e = _folded_exp(z)
    return torch.where(right, torch.ones_like(e), e) / (1 + e)


def silu(z: Tensor) -> Tensor:
    r"""$z/(1+e^{-z})$, meromorphic with poles at the odd multiples of $i\pi$.

    Source: docs/mathematics.md, section 4.

    >>> silu(torch.tensor([1000.0 + 0j])).real
    tensor([1000.])
    """
    return z * sigmoid(z) if z.is_complex() else F.silu(z)


def softplus(z: Tensor, beta: float = 1.0) -> Tensor:
    r"""$\log(1+e^{\beta z})/\beta$, analytic in the tube $|\Im \beta z| < \pi$.

    Raises
    ------
    DomainError
        Outside the tube, where the branch points $\pm i\pi$ stand.

    Source: docs/mathematics.md, section 4.

    >>> softplus(torch.tensor([1000.0 + 1j]))
    tensor([1000.+1.j])
    """
    if not z.is_complex():
        return F.softplus(z, beta=beta)
    w = z * beta
    if bool((w.imag.abs() >= math.pi).any()):
        raise DomainError(
            f"softplus is analytic for |Im z| < pi/{beta:g} only, and the evaluation left that tube. "
            f"Use a smaller radius or imaginary part."
        )
    right, e = _folded_exp(w)
    return (torch.where(right, w, torch.zeros_like(w)) + _log1p(e)) / beta


def _folded_exp(z: Tensor) -> tuple[Tensor, Tensor]:
    """Where Re z > 0, and exp of z or -z, whichever does not overflow."""
    right = z.real > 0
    return right, torch.exp(torch.where(right, -z, z))


def _log1p(z: Tensor) -> Tensor:
    """log(1 + z) for |z| <= 1, accurate near zero."""
    x, y = z.real, z.imag
    return torch.complex(0.5 * torch.log1p(x * (2 + x) + y * y), torch.atan2(y, 1 + x))


def logsumexp(z: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    r"""$\log\sum_j e^{z_j}$ along ``dim``, principal branch; analytic where the sum avoids $(-\infty, 0]$.

    Source: docs/mathematics.md, section 4.

    >>> logsumexp(torch.tensor([1000.0 + 0j, 1000.0 + 0j]), 0)
    tensor(1000.693...+0.j)
    """
    if not z.is_complex():
        return torch.logsumexp(z, dim, keepdim)
    top = z.real.amax(dim, keepdim=True).detach()
    total = torch.exp(z - top).sum(dim, keepdim=True).log() + top
    return total if keepdim else total.squeeze(dim)


def log_softmax(z: Tensor, dim: int) -> Tensor:
    r"""$z_k - \log\sum_j e^{z_j}$ along ``dim``.

    Source: docs/mathematics.md, section 4.

    >>> log_softmax(torch.tensor([0j, 0j]), 0).real
    tensor([-0.6931, -0.6931])
    """
    return z - logsumexp(z, dim, keepdim=True) if z.is_complex() else torch.log_softmax(z, dim)


def softmax(z: Tensor, dim: int) -> Tensor:
    r"""$e^{z_k}/\sum_j e^{z_j}$ along ``dim``, meromorphic with poles where the sum vanishes.

    Source: docs/mathematics.md, section 4.

    >>> softmax(torch.tensor([1000.0 + 1j, 1000.0 + 1j]), 0).real
    tensor([0.5000, 0.5000])
    """
    if not z.is_complex():
        return torch.softmax(z, dim)
    e = torch.exp(z - z.real.amax(dim, keepdim=True).detach())
    return e / e.sum(dim, keepdim=True)
