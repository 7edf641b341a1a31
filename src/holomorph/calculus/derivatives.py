r"""First and second derivatives with respect to the input, sample by sample.

Every function here takes ``f``, a module or callable that maps a batch (batch, ...) to (batch, ...) without
mixing samples, and records a graph for the parameters unless it is called under ``torch.no_grad()``.
"""

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from holomorph.calculus.elementary import forward_mode
from holomorph.calculus.missing import naming_the_operation
from holomorph.calculus.one_function import one_function
from holomorph.calculus.where import at_complex
from holomorph.contract import Differentiable, check_batch
from holomorph.contract.compiled import eagerly
from holomorph.errors import ConfigError, DomainError, ModelError, NotDifferentiableError

_LARGEST_DENSE = 8  # below this dimension the Hessian is formed, for Lanczos needs room to iterate


def input_gradient(g: Differentiable, x: Tensor) -> Tensor:
    r"""The gradient $\nabla_x g$ of a scalar observable; shape of x.

    Assumes one real number a sample, (batch,) or (batch, 1), differentiable in x.

    Raises
    ------
    NotDifferentiableError
        Where the output does not depend differentiably on the input.
    ModelError
        For an output that is not one number a sample.

    Source: docs/mathematics.md, section 1.

    >>> input_gradient(lambda x: x.square().sum(1), torch.tensor([[1.0, -2.0]])).tolist()
    [[2.0, -4.0]]
    """
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        point = leaf(x)
        return pull_back(scalar_output(g, point), point, create=create)


def jvp(f: Differentiable, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    r"""$(h(x), Jv)$ by torch's forward mode; each of the shape of the output.

    Assumes that every operation of f has a forward derivative in torch (attention and normalisation are taken apart
    into such); :func:`jets.dual` does without.

    Source: docs/mathematics.md, section 2.

    >>> jvp(lambda x: x**2, torch.tensor([[3.0]]), torch.tensor([[1.0]]))
    (tensor([[9.]]), tensor([[6.]]))
    """
    check_batch(x)
    check_direction(x, v)
    value, tangent = forward_mode(one_function(f, x), (x,), (v,), strict=True)
    check_finite(value)
    return (value, tangent) if torch.is_grad_enabled() else (value.detach(), tangent.detach())


def vjp(f: Differentiable, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    r"""$(h(x), J^\top u)$ for a direction u of the output; shapes of the output and of x.

    Source: docs/mathematics.md, section 2.

    >>> vjp(lambda x: x**2, torch.tensor([[3.0]]), torch.tensor([[2.0]]))[1].tolist()
    [[12.0]]
    """
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        point = leaf(x)
        h = output_of(f, point)
        gradient = pull_back(h, point, u, create=create)
    return (h if create else h.detach()), gradient


def jacobian(f: Differentiable, x: Tensor, chunk: int = 1) -> Tensor:
    r"""$J = \partial h_k/\partial x_j$; shape (batch, outputs, *x.shape[1:]), outputs flattened.

    One backward pass for each output, ``chunk`` of them at once on copies of the batch (more memory, fewer calls; for
    small networks). Real outputs only;
    for complex functions see :func:`wirtinger`.

    Source: docs/mathematics.md, section 2.

    >>> jacobian(torch.nn.Linear(3, 2), torch.zeros(4, 3)).shape
    torch.Size([4, 2, 3])
    """
    if chunk < 1:
        raise ConfigError(f"chunk must be at least 1, not {chunk}.")
    create = torch.is_grad_enabled()
    f = one_function(f, x)
    with torch.enable_grad():
        point = leaf(x)
        h = output_of(f, point).reshape(len(point), -1)
        if chunk == 1 or f.random:  # copies of the batch would have masks of their own
            rows = [pull_back(column, point, create=create, retain=True) for column in h.unbind(1)]
            return torch.stack(rows, 1)
        outputs = torch.arange(h.shape[1], device=x.device)
        parts = [_rows_at_once(f, point, some, create) for some in torch.split(outputs, chunk)]
        return torch.cat(parts).movedim(0, 1)


def hessian_vector(g: Differentiable, x: Tensor, v: Tensor) -> Tensor:
    r"""$Hv$, H the input Hessian of a scalar observable; shape of x. Two backward passes.

    Source: docs/mathematics.md, section 3.

    >>> hessian_vector(lambda x: (x**3).sum(1), torch.tensor([[2.0]]), torch.tensor([[1.0]])).tolist()
    [[12.0]]
    """
    check_direction(x, v)
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        point = leaf(x)
        gradient = pull_back(scalar_output(g, point), point, create=True)
        if not gradient.requires_grad:
            return torch.zeros_like(x)
        return pull_back(gradient, point, v, create=create, unused_is_zero=True)


def curvature(
    g: Differentiable, x: Tensor, which: Literal["magnitude", "largest", "smallest"] = "magnitude", tol: float = 1e-6
) -> Tensor:
    r"""The extreme eigenvalue of the input Hessian of a scalar observable, for instance the margin; (batch,).

    By implicitly restarted Lanczos iterations (ARPACK through scipy), one sample after another; the Hessian is
    never formed above dimension 8. ``which`` picks the eigenvalue of largest magnitude (with its sign), the
    largest or the smallest. Carries no graph: the result is for reading, not for training.

    Source: docs/mathematics.md, section 3; Moosavi-Dezfooli et al. 2019.

    >>> curvature(lambda x: 3 * x[:, 0] ** 2 - x[:, 1] ** 2, torch.zeros(1, 2))
    tensor([6.])
    """
    codes = {"magnitude": "LM", "largest": "LA", "smallest": "SA"}
    if which not in codes:
        raise ConfigError(f"Unknown eigenvalue {which!r}. Use magnitude, largest or smallest.")
    check_batch(x)
    g = one_function(g, x)
    values = [_extreme_eigenvalue(g, sample, codes[which], tol) for sample in torch.split(x.detach(), 1)]
    return torch.tensor(values, dtype=x.dtype, device=x.device)


def _extreme_eigenvalue(g: Differentiable, x: Tensor, code: str, tol: float) -> float:
    n = x.numel()

    def product(v: np.ndarray) -> np.ndarray:
        direction = torch.as_tensor(v.reshape(x.shape)).to(x)
        with torch.no_grad():
            return hessian_vector(g, x, direction).reshape(n).cpu().double().numpy()

    if n <= _LARGEST_DENSE:
        spectrum = np.linalg.eigvalsh(np.stack([product(e) for e in np.eye(n)]))
        index = {"LM": int(np.abs(spectrum).argmax()), "LA": n - 1, "SA": 0}[code]
        return float(spectrum[index])
    start = np.random.default_rng(0).standard_normal(n)
    if not product(start).any():
        return 0.0
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh  # slow to import, seldom needed

    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    try:
        return float(eigsh(operator, k=1, which=code, v0=start, tol=tol, return_eigenvectors=False)[0])
    except ArpackNoConvergence:
        raise DomainError(f"Lanczos did not reach the tolerance {tol:g}. Use float64, or a larger tol.") from None


# --- what the other files of the calculus build on ---------------------------------------------------------------


def leaf(x: Tensor) -> Tensor:
    """A point to differentiate at: x itself if the caller already tracks it, else a fresh leaf."""
    check_batch(x)
    return x if x.requires_grad else x.detach().requires_grad_()


def check_direction(x: Tensor, v: Tensor) -> None:
    """Refuse a direction that does not match the batch."""
    if v.shape != x.shape or v.dtype != x.dtype:
        raise ModelError(
            f"The direction is {tuple(v.shape)} {v.dtype}, the input {tuple(x.shape)} {x.dtype}. Make them equal."
        )


def output_of(f: Differentiable, x: Tensor) -> Tensor:
    """f(x), checked to be one row of numbers a sample, in operations that have derivatives of every order."""
    f = one_function(f, x)
    with sdpa_kernel(SDPBackend.MATH), eagerly():
        h = at_complex(f, x) if x.is_complex() else f(x)
    if not isinstance(h, Tensor) or h.ndim == 0 or len(h) != len(x):
        got = tuple(h.shape) if isinstance(h, Tensor) else type(h).__name__
        raise ModelError(f"The function gave {got} for a batch of {len(x)}. It must return one row for each sample.")
    check_finite(h)
    return h


def check_finite(h: Tensor) -> None:
    """Refuse values that are NaN or infinite."""
    if not torch.isfinite(h).all():
        raise DomainError("The function is NaN or infinite at some sample. Check the model, or move the points.")


def scalar_output(g: Differentiable, x: Tensor) -> Tensor:
    """g(x) of shape (batch,), checked to be one number a sample."""
    value = output_of(g, x)
    if value.numel() != len(x):
        raise ModelError(
            f"An observable must be one number a sample, but the function gave {tuple(value.shape)}. "
            f"Wrap it, for instance in a loss or a margin."
        )
    return value.reshape(len(x))


def pull_back(
    h: Tensor, x: Tensor, u: Tensor | None = None, *, create: bool, retain: bool = False, unused_is_zero: bool = False
) -> Tensor:
    """J^T u (u = ones by default), with the errors that a user can mend."""
    if h.is_complex():
        raise ModelError("The output is complex. Take its real part, or use wirtinger().")
    if not h.requires_grad:
        raise NotDifferentiableError(
            "The output does not depend differentiably on the input. Look for detach(), argmax, rounding, "
            "numpy, or no_grad inside the function."
        )
    weight = torch.ones_like(h) if u is None else u
    with naming_the_operation():
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            h, x, weight, create_graph=create, retain_graph=create or retain, allow_unused=True
        )
    gradient = found[0]
    if gradient is None and unused_is_zero:
        return torch.zeros_like(x)
    if gradient is None:
        raise NotDifferentiableError(
            "The output depends on parameters but not differentiably on the input. Look for detach(), argmax, "
            "rounding, or an input that is not used."
        )
    return gradient


def probe(x: Tensor, generator: torch.Generator) -> Tensor:
    r"""Directions with $E\,vv^\top = I$: uniform on the sphere of radius $\sqrt n$, one for each sample.

    The quadratic form $v^\top A v$ has less variance than with Gaussian v, none at all for n = 1.
    """
    g = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device).to(x.device)
    flat = g.flatten(1)
    return (flat * (math.sqrt(flat.shape[1]) / flat.norm(dim=1, keepdim=True))).reshape(x.shape)


def unit_directions(x: Tensor) -> Tensor:
    """The unit vectors of the input space, the same for all samples; (n, *x.shape), a view of an (n, n) matrix."""
    n = x[0].numel()
    return torch.eye(n, dtype=x.dtype, device=x.device).reshape(n, 1, *x.shape[1:]).expand(n, *x.shape)


def basis(x: Tensor, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Unit vectors of the input space, ``chunk`` at a time: copies of the batch and their directions."""
    for directions in torch.split(unit_directions(x), chunk):
        shape = (len(directions) * len(x), *x.shape[1:])
        yield x.expand(len(directions), *x.shape).reshape(shape), directions.reshape(shape)


def _rows_at_once(f: Differentiable, x: Tensor, outputs: Tensor, create: bool) -> Tensor:
    """The gradients of several outputs, each at its own copy of the batch; shape (outputs, *x.shape)."""
    copies = len(outputs)
    many = x.expand(copies, *x.shape).flatten(0, 1)
    h = output_of(f, many).reshape(copies, len(x), -1)
    picked = h[torch.arange(copies, device=x.device), :, outputs]
    return pull_back(picked, many, create=create).reshape(copies, *x.shape)
