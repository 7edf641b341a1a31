r"""The Wirtinger derivatives $\partial$ and $\bar\partial = (\partial_x + i\partial_y)/2$."""

import torch
from torch import Tensor

from holomorph.calculus.derivatives import leaf, output_of
from holomorph.contract import Differentiable
from holomorph.errors import DataError, NotDifferentiableError


def wirtinger(f: Differentiable, z: Tensor) -> tuple[Tensor, Tensor]:
    r"""$(\partial f, \bar\partial f)$; each complex of shape (batch, outputs, *z.shape[1:]), outputs flattened.

    Assumes f real-differentiable, complex (batch, ...) -> real or complex (batch, ...). f is holomorphic exactly
    where the second is zero, and then the first is its complex derivative. Two backward passes an output.

    Raises
    ------
    DataError
        For real points. Complexify them: ``z = torch.complex(x, torch.zeros_like(x))``.

    Source: docs/mathematics.md, section 4.

    >>> z = torch.tensor([[1.0 + 2.0j]])
    >>> wirtinger(torch.conj, z)
    (tensor([[[0.+0.j]]]), tensor([[[1.+0.j]]]))
    """
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        point = _complex_leaf(z)
        h = output_of(f, point).reshape(len(point), -1)
        pairs = [_row(column, point, create) for column in h.unbind(1)]
    return torch.stack([a for a, _ in pairs], 1), torch.stack([b for _, b in pairs], 1)


def cauchy_riemann_residual(
    f: Differentiable, z: Tensor, *, probes: int = 0, generator: torch.Generator | None = None
) -> Tensor:
    r"""$E\|\bar\partial f\|^2 \,/\, E\|\partial f\|^2$ over the batch: a scalar, zero for holomorphic f, 1 for real f.

    With ``probes`` > 0 random combinations $\sum_k u_k f_k$, $E\,u u^* = I$, replace the sum over outputs: both
    expectations stay unbiased and the cost no longer grows with the number of outputs.

    Source: docs/mathematics.md, section 4.

    >>> z = torch.tensor([[1.0 + 2.0j]])
    >>> cauchy_riemann_residual(lambda z: z**2, z).item()
    0.0
    >>> cauchy_riemann_residual(lambda z: z + 0.5 * z.conj(), z).item()
    0.25
    """
    if probes < 1:
        d, dbar = wirtinger(f, z)
        return _mean_square(dbar) / _mean_square(d)
    source = torch.default_generator if generator is None else generator
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        point = _complex_leaf(z)
        h = output_of(f, point).reshape(len(point), -1)
        pairs = [_row((h * _complex_probe(h, source)).sum(1), point, create) for _ in range(probes)]
    d, dbar = torch.stack([a for a, _ in pairs], 1), torch.stack([b for _, b in pairs], 1)
    return _mean_square(dbar) / _mean_square(d)


def _row(h: Tensor, z: Tensor, create: bool) -> tuple[Tensor, Tensor]:
    """Both derivatives of one output (batch,). torch's gradient of a real u is u_x + i u_y."""
    a = _gradient(h.real, z, create)
    b = _gradient(h.imag, z, create) if h.is_complex() else torch.zeros_like(z)
    return (a.conj() + 1j * b.conj()) / 2, (a + 1j * b) / 2


def _gradient(u: Tensor, z: Tensor, create: bool) -> Tensor:
    if not u.requires_grad:
        raise NotDifferentiableError(
            "The output does not depend differentiably on the input. Look for detach(), argmax, rounding, "
            "numpy, or no_grad inside the function."
        )
    (gradient,) = torch.autograd.grad(
        u, z, torch.ones_like(u), create_graph=create, retain_graph=True, allow_unused=True
    )
    return torch.zeros_like(z) if gradient is None else gradient


def _complex_leaf(z: Tensor) -> Tensor:
    if not z.is_complex():
        raise DataError(
            "Wirtinger derivatives need complex points. Complexify them: torch.complex(x, torch.zeros_like(x))."
        )
    return leaf(z)


def _complex_probe(h: Tensor, generator: torch.Generator) -> Tensor:
    dtype = h.dtype if h.is_complex() else h.dtype.to_complex()
    return torch.randn(h.shape, generator=generator, dtype=dtype, device=generator.device).to(h.device)


def _mean_square(d: Tensor) -> Tensor:
    return (d.real.square() + d.imag.square()).flatten(1).sum(1).mean()
