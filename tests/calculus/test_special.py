import math

import mpmath
import pytest
import torch
from scipy.integrate import quad

from holomorph.calculus import jets, special
from holomorph.errors import DomainError

GRID = torch.complex(*torch.meshgrid(torch.linspace(-6, 6, 17), torch.linspace(-3, 3, 13), indexing="ij"))
GRID = torch.cat(
    [GRID.flatten().to(torch.complex128), torch.tensor([1e-9 + 1e-12j, 2 + 1e-10j, 1e-3 + 3j, 0.99, 1.01j])]
)


def mp_gelu(z):
    return z / 2 * mpmath.erfc(-z / mpmath.sqrt(2))


def mp_softplus(z):
    return mpmath.log(1 + mpmath.exp(z))


def mp_sigmoid(z):
    return 1 / (1 + mpmath.exp(-z))


PAIRS = [
    (special.erf, mpmath.erf),
    (special.erfc, mpmath.erfc),
    (special.gelu, mp_gelu),
    (special.softplus, mp_softplus),
    (special.sigmoid, mp_sigmoid),
    (special.silu, lambda z: z * mp_sigmoid(z)),
]


def reference(f, z):
    with mpmath.workdps(30):
        return torch.tensor([complex(f(mpmath.mpc(c.real, c.imag))) for c in z.tolist()], dtype=torch.complex128)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_values_agree_with_mpmath(ours, theirs):
    expected = reference(theirs, GRID)
    error = (ours(GRID) - expected).abs() / expected.abs().clamp_min(1e-12)
    assert error.max() < 1e-13


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_single_precision(ours, theirs):
    z = GRID[GRID.abs() < 4]
    expected = reference(theirs, z)
    error = (ours(z.to(torch.complex64)) - expected).abs() / expected.abs().clamp_min(1e-3)
    assert error.max() < 2e-4


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_derivatives_agree_with_mpmath(ours, theirs):
    z = torch.tensor([0.3 + 0.4j, -1.2 + 0.9j, 2.1 - 1.1j], dtype=torch.complex128, requires_grad=True)
    first = torch.autograd.grad(ours(z).sum(), z, torch.tensor(1 + 0j, dtype=z.dtype), create_graph=True)[0].conj()
    second = torch.autograd.grad(first.sum(), z, torch.tensor(1 + 0j, dtype=z.dtype))[0].conj()
    for got, order in ((first, 1), (second, 2)):
        expected = reference(lambda w, n=order: mpmath.diff(theirs, w, n), z.detach())
        assert (got - expected).abs().max() < 1e-10


@pytest.mark.parametrize(
    "f", [special.erf, special.gelu, special.sigmoid, special.silu, special.softplus, lambda z: special.softmax(z, 0)]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_no_overflow_far_out_on_the_real_line(f, dtype):
    x = torch.tensor([-1e4, -800.0, 0.0, 800.0, 1e4], dtype=dtype, requires_grad=True)
    y = f(x)
    gradient = torch.autograd.grad(y.real.sum() if y.is_complex() else y.sum(), x)[0]
    assert torch.isfinite(torch.view_as_real(y) if y.is_complex() else y).all()
    assert torch.isfinite(torch.view_as_real(gradient) if gradient.is_complex() else gradient).all()


def test_softmax_and_logsumexp_agree_with_mpmath_on_a_grid():
    """Three arguments, two of them on grids in the plane, far out too; the sum stays off the branch cut."""
    second, third = GRID[::7] / 4, 30 * GRID[::5]
    z = torch.stack([torch.stack([torch.zeros_like(a), a, b]) for a in second for b in third])
    softmax, total = special.softmax(z, 1), special.logsumexp(z, 1)
    with mpmath.workdps(30):
        for row, shares, log in zip(z.tolist(), softmax.tolist(), total.tolist(), strict=True):
            terms = [mpmath.exp(mpmath.mpc(c.real, c.imag)) for c in row]
            whole = mpmath.fsum(terms)
            if abs(whole) < 1e-3 * max(abs(t) for t in terms):  # the terms cancel: ill-conditioned for anyone
                continue
            assert max(abs(complex(t / whole) - s) for t, s in zip(terms, shares, strict=True)) < 1e-10
            assert abs(complex(mpmath.exp(mpmath.mpc(log.real, log.imag)) / whole) - 1) < 1e-10


def test_softmax_gradients():
    z = torch.randn(2, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for f in (special.softmax, special.log_softmax, special.logsumexp):
        assert torch.autograd.gradcheck(lambda t, f=f: f(t, 1), z)
        assert torch.autograd.gradgradcheck(lambda t, f=f: f(t, 1), z)


def test_softplus_refuses_its_branch_points():
    with pytest.raises(DomainError, match="smaller radius"):
        special.softplus(torch.tensor([1j * math.pi]))
    special.softplus(torch.tensor([0.99j * math.pi]))
    with pytest.raises(DomainError):
        special.softplus(torch.tensor([1j * math.pi / 2]), beta=2.0)


@pytest.mark.parametrize("point", [0.0, 0.01, 0.0899, 0.0901, -0.7])
def test_sinc_is_followed_through_its_zero_over_zero(point: float) -> None:
    """sinc(t/3) has the second derivative -π²/27 at 0, where torch's own is 0 in one mode and NaN in the other."""
    x, v = torch.tensor([[point]], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    found = jets.second(lambda z: torch.sinc(z / 3), x, v)
    scaled = math.pi / 3  # sinc(t/3) is the mean of cos(w t) over w between 0 and π/3
    wanted = [
        quad(lambda w, n=n: (w * scaled) ** n * math.cos(w * scaled * point + n * math.pi / 2), 0, 1)[0]
        for n in range(3)
    ]
    assert [float(part) for part in found] == pytest.approx(wanted, rel=1e-9, abs=1e-12)
