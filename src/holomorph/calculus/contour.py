r"""Cauchy integrals on the circle $z = x + re^{it}v$: all derivatives along v at once.

A real x means a real-analytic function (a network with GELU, tanh, ...), which is evaluated off the real axis by
:func:`holomorph.calculus.jets.complex`; there $h(\bar z) = \overline{h(z)}$, so half the circle is enough. A complex
x means a function that takes complex tensors itself.
"""

import math

import torch
from torch import Tensor

from holomorph.calculus import jets
from holomorph.calculus.derivatives import check_direction, check_finite, output_of
from holomorph.calculus.lines import along_line
from holomorph.calculus.one_function import OneFunction, one_function
from holomorph.calculus.where import at_complex
from holomorph.contract import Differentiable, check_batch
from holomorph.errors import ConfigError, DomainError, unknown_name

_LARGEST = 1024  #: points on a circle
_ROUNDING = 256  #: units in the last place that the values on a circle may be wrong by


def taylor_coefficients(
    f: Differentiable,
    x: Tensor,
    v: Tensor,
    order: int,
    radius: float = 0.1,
    method: str = "contour",
    points: int | None = None,
) -> Tensor:
    r"""$c_0, \dots, c_m$ with $f(x + tv) = \sum_k c_k t^k$; shape (batch, order + 1, outputs).

    Parameters
    ----------
    x, v:
        Points and directions of one shape. Real: f is real-analytic, the coefficients are real. Complex: f takes
        complex tensors, and so are the coefficients.
    radius:
        Of the circle, in units of t; f must be analytic on the disc. Too small a radius loses digits to rounding:
        the error of $c_k$ is about machine epsilon times max|f| over $r^k$.
    method:
        ``contour``: one FFT of ``points`` values (Cauchy's formula by the trapezoidal rule, error $O((r/R)^{points})$);
        without a number they are doubled until the coefficients have died away.
        ``forward``: forward differentiation nested ``order`` times, real x, no radius; cost grows like 2^order.

    Raises
    ------
    DomainError
        Where f is not finite on the circle, shows a pole inside it, or one so near that the coefficients do not die
        away; where f is so large there that rounding hides its value at the centre.

    Source: docs/mathematics.md, section 5.

    Examples
    --------
    >>> x, v = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    >>> taylor_coefficients(torch.exp, x, v, order=3, radius=1.0)[0, :, 0]
    tensor([1.0000, 1.0000, 0.5000, 0.1667], dtype=torch.float64)
    """
    check_batch(x)
    check_direction(x, v)
    if order < 0:
        raise ConfigError(f"order must not be negative, not {order}.")
    if method == "forward":
        return _by_forward_mode(f, x, v, order)
    if method != "contour":
        raise unknown_name("Taylor method", method, ["contour", "forward"])
    f = one_function(f, x)
    spectrum = _settled(f, x, v, radius, *_counts(points, order))
    if points is None:
        _check_centre(f, x, spectrum[: order + 1].detach(), radius)
    powers = radius ** torch.arange(order + 1, dtype=x.real.dtype, device=x.device)
    return (spectrum[: order + 1] / powers[:, None, None]).movedim(0, 1)


def hardy_norm(
    f: Differentiable, x: Tensor, v: Tensor, radius: float, points: int | None = None, centred: bool = False
) -> Tensor:
    r"""$\frac1{2\pi}\int |f(x + re^{it}v)|^2\,dt = \sum_k r^{2k}|c_k|^2$, summed over outputs; shape (batch,).

    ``centred`` subtracts f(x), the term k = 0; divided by $r^2$ that tends to $|\partial_v f|^2$ as r -> 0.
    Exact for polynomials of degree below ``points``; without a number of points they are doubled from 16 on until the
    coefficients have died away. Differentiable in the parameters.

    Raises
    ------
    DomainError
        As :func:`taylor_coefficients`.

    Source: docs/mathematics.md, section 5.

    >>> x, v = torch.zeros(1, 1), torch.ones(1, 1)
    >>> hardy_norm(lambda z: 1 + 2 * z, x, v, radius=0.5), hardy_norm(lambda z: 1 + 2 * z, x, v, 0.5, centred=True)
    (tensor([2.]), tensor([1.]))
    """
    check_batch(x)
    check_direction(x, v)
    f = one_function(f, x)
    spectrum = _settled(f, x, v, radius, *((points, points) if points is not None else (16, _LARGEST)))
    if centred:
        first = spectrum[:1] - output_of(f, x).reshape(len(x), -1)
        spectrum = torch.cat([first, spectrum[1:]])
    return (spectrum.real.square() + spectrum.imag.square() if spectrum.is_complex() else spectrum.square()).sum((0, 2))


def cauchy_estimate(f: Differentiable, x: Tensor, v: Tensor, order: int, radius: float, points: int = 64) -> Tensor:
    r"""$M/r^k \ge |c_k|$ for k = 0 ... order, M the maximum of |f| on the circle; shape (batch, order + 1, outputs).

    M is the maximum over ``points`` of the circle, which is a little below the true one.

    Source: docs/mathematics.md, section 5.

    >>> cauchy_estimate(lambda z: z**2, torch.zeros(1, 1), torch.ones(1, 1), order=2, radius=2.0)[0, :, 0]
    tensor([4.0000, 2.0000, 1.0000])
    """
    check_batch(x)
    check_direction(x, v)
    largest = on_circle(f, x, v, radius, points).abs().amax(0)
    powers = radius ** torch.arange(order + 1, dtype=x.real.dtype, device=x.device)
    return largest[:, None, :] / powers[:, None]


def radius_of_convergence(coefficients: Tensor, radius: float | None = None) -> Tensor:
    r"""An estimate of $1/\limsup |c_k|^{1/k}$ from finitely many coefficients; shape (batch, outputs).

    The slope of $\log|c_k|$ on k by least squares over the upper half of the orders, zero coefficients left out.
    Infinite where fewer than two are left (polynomials). If the coefficients come from a contour, give its
    ``radius``: those below the rounding error of the contour are left out.

    It is exact for a geometric series. Where the last coefficients do not show the decay yet, it fails, as every
    estimate from finitely many coefficients must:

    - for entire functions it is finite and grows with the order;
    - for a pair of singularities $re^{\pm i\theta}$ it scatters by about 1/order;
    - a far singularity of large residue hides a near one of small residue.

    Source: docs/mathematics.md, section 5.

    >>> radius_of_convergence(torch.tensor([1.0, 0.5, 0.25, 0.125])[None, :, None])
    tensor([[2.]])
    """
    size = coefficients.detach().abs()
    orders = size.shape[1]
    k = torch.arange(orders, dtype=size.dtype, device=size.device)[None, :, None]
    floor = torch.zeros_like(size[:, :1])
    if radius is not None:
        floor = 16 * torch.finfo(size.dtype).eps * (size * radius**k).amax(1, keepdim=True) / radius**k
    used = (size > floor) & (k >= orders // 2)
    log = torch.where(used, size, torch.ones_like(size)).log()
    count = used.sum(1)
    weight = used.to(size.dtype)
    centred = (k - (k * weight).sum(1, keepdim=True) / count.clamp_min(1)[:, None]) * weight
    slope = (centred * log).sum(1) / centred.square().sum(1).clamp_min(torch.finfo(size.dtype).tiny)
    return torch.where(count >= 2, (-slope).exp(), torch.full_like(slope, math.inf))


def on_circle(f: Differentiable, x: Tensor, v: Tensor, radius: float, points: int) -> Tensor:
    r"""f at $x + re^{2\pi ij/N}v$; complex (N, batch, outputs), or j = 0 ... N/2 only for real x."""
    if not radius > 0:
        raise ConfigError(f"radius must be positive, not {radius}.")
    if points < 2 or points % 2:
        raise ConfigError(f"points must be an even number of at least 2, not {points}.")
    angles = torch.arange(points, dtype=x.real.dtype, device=x.device) * (2 * math.pi / points)
    angles = angles if x.is_complex() else angles[: points // 2 + 1]
    f = one_function(f, x)
    if x.is_complex():
        at_complex(f, x.detach())  # the first call, which says in which part torch has no complex operation
    if f.settled().random:  # many points at once would have masks of their own
        return torch.cat([_values(f, x, v, radius, angle[None]) for angle in angles])
    return _values(f, x, v, radius, angles)


def _values(f: OneFunction, x: Tensor, v: Tensor, radius: float, angles: Tensor) -> Tensor:
    shape = (-1, *(1,) * x.ndim)
    try:
        if x.is_complex():
            many = x + radius * torch.polar(torch.ones_like(angles), angles).to(x.dtype).reshape(shape) * v
            h = at_complex(f, many.flatten(0, 1))
            check_finite(h)
        else:
            real = x + radius * angles.cos().reshape(shape) * v
            imaginary = (radius * angles.sin()).reshape(shape) * v
            h = torch.complex(*jets.complex(f, real.flatten(0, 1), imaginary.flatten(0, 1)))
    except DomainError as error:
        raise DomainError(
            f"On the circle of radius {radius:g}: {error} A pole may be near; use a smaller radius."
        ) from None
    return h.reshape(len(angles), len(x), -1)


def _counts(points: int | None, order: int) -> tuple[int, int]:
    """How many points to begin with, and how many at most."""
    if points is None:
        least = max(32, 1 << (4 * order + 3).bit_length())
        return least, max(least, _LARGEST)
    if points <= 2 * order:
        raise ConfigError(f"{points} points cannot give {order + 1} coefficients safely. Use more than {2 * order}.")
    return points, points


def _settled(f: OneFunction, x: Tensor, v: Tensor, radius: float, points: int, most: int) -> Tensor:
    """The spectrum at so many points that its middle has died away."""
    while True:
        spectrum = _spectrum(on_circle(f, x, v, radius, points), points, whole=x.is_complex())
        settled = points < 16 or _has_died_away(
            spectrum.detach(), radius, points >= most
        )  # so few are the caller's own choice
        if settled and (most < _LARGEST or _holds_between(f, x, v, radius, spectrum.detach())):
            return spectrum
        if points >= most:
            raise DomainError(
                f"The Fourier coefficients on the circle of radius {radius:g} do not die away within {points} points: "
                f"a pole or branch point lies on the circle or near it. Use a smaller radius, or more points."
            )
        points *= 2


def _spectrum(values: Tensor, points: int, *, whole: bool) -> Tensor:
    """The Fourier coefficients c_k r^k, k = 0 ... points - 1, the upper half being the negative orders."""
    if whole:
        return torch.fft.fft(values, dim=0) / points
    return torch.fft.hfft(values, n=points, dim=0) / points


def _has_died_away(spectrum: Tensor, radius: float, final: bool) -> bool:
    r"""Whether the middle is below $\sqrt\epsilon$ of the largest, so that what is folded over is below $\epsilon$.

    The constant, against which all else may be small, counts as rounding only.

    Analytic functions have no negative orders; a pole inside makes the spectrum rise again towards order -1, and so
    do high orders that few points fold over.
    """
    size = spectrum.abs()
    points, eighth = len(size), max(1, len(size) // 8)
    last, middle = size[-eighth:].amax(0), size[points // 2 : points // 2 + eighth].amax(0)
    largest, eps = size.amax(0), torch.finfo(size.dtype).eps
    risen = bool(((last > _ROUNDING * eps * largest) & (last > middle)).any())
    if risen and final:
        raise DomainError(
            f"The function is not analytic on the disc of radius {radius:g}: its Fourier coefficients of negative "
            f"order do not vanish. There is a pole or branch point inside, or {points} points are too few to tell; "
            f"use a smaller radius or more points."
        )
    allowed = torch.maximum(math.sqrt(eps) * size[1:].amax(0), _ROUNDING * eps * largest)
    return not risen and bool((middle <= allowed).all())


def _holds_between(f: OneFunction, x: Tensor, v: Tensor, radius: float, spectrum: Tensor) -> bool:
    """Whether the sum of the spectrum is f between the points too: $z^{33}$ on 32 points looks like z."""
    angle = torch.ones(1, dtype=x.real.dtype, device=x.device)
    k = torch.arange(len(spectrum), dtype=angle.dtype, device=x.device)[:, None, None]
    k = torch.where(k < len(spectrum) // 2, k, k - len(spectrum))
    with torch.no_grad():
        apart = _values(f, x, v, radius, angle)[0] - (spectrum * torch.polar(torch.ones_like(k), k)).sum(0)
    size, eps = spectrum.abs(), torch.finfo(k.dtype).eps
    allowed = math.sqrt(eps) * size[1:].sum(0) + _ROUNDING * eps * size.sum(0)
    return bool((apart.abs() <= 16 * allowed).all())


def _check_centre(f: OneFunction, x: Tensor, spectrum: Tensor, radius: float) -> None:
    """Refuse coefficients that drown in the rounding of much larger values on the circle: the first is f(x)."""
    with torch.no_grad():
        centre = output_of(f, x).reshape(len(x), -1)
    slack = math.sqrt(torch.finfo(x.dtype).eps) * (centre.abs() + spectrum.abs().sum(0))
    if bool(((spectrum[0] - centre).abs() > slack).any()):
        raise DomainError(
            f"On the circle of radius {radius:g} the function is so much larger than at its centre that rounding hides "
            f"the coefficients. Use a smaller radius."
        )


def _by_forward_mode(f: Differentiable, x: Tensor, v: Tensor, order: int) -> Tensor:
    if x.is_complex():
        raise ConfigError("Nested forward differentiation is for real inputs. Use method 'contour'.")
    terms = along_line(f, x, v, order)
    check_finite(terms)
    terms = terms.reshape(order + 1, len(x), -1).movedim(0, 1)
    return terms if torch.is_grad_enabled() else terms.detach()
