r"""The Laplacian $\Delta h_k = \sum_j \partial_j^2 h_k$ with respect to the input: exact, forward, stochastic."""

import torch
from torch import Tensor

from holomorph.calculus import jets
from holomorph.calculus.derivatives import basis, leaf, output_of, probe, pull_back, unit_directions
from holomorph.calculus.one_function import OneFunction, one_function
from holomorph.contract import Differentiable, check_batch
from holomorph.errors import ConfigError, unknown_name


def laplacian(
    f: Differentiable,
    x: Tensor,
    method: str = "exact",
    *,
    probes: int = 1,
    generator: torch.Generator | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""$\Delta f_k(x_i)$; shape (batch, outputs), outputs flattened. Differentiable in the parameters.

    Parameters
    ----------
    f:
        (batch, ...) -> (batch, ...), real, twice differentiable, no mixing of samples.
    method:
        ``exact``: the diagonal of the Hessian by double backward, output by output;
        the slow reference. ``forward``: value, gradient and Laplacian pushed through the network together, one pass
        (Li et al. 2023, the forward Laplacian). ``hutchinson``: $E\,v^\top H v$ with ``probes`` second-order jets,
        v uniform on the sphere of radius sqrt(n).
    generator:
        Draws the probes; torch's default generator if None.
    chunk:
        Coordinates handled at once: by default 32 for ``exact``, all for ``forward``. Fewer need less memory.

    A piecewise linear network (ReLU) has Laplacian zero almost everywhere, which says nothing about its kinks.

    Source: docs/mathematics.md, section 3.

    Examples
    --------
    >>> laplacian(lambda x: x.square().sum(1), torch.zeros(1, 3), method="forward")  # of |x|^2: 2n
    tensor([[6.]])
    """
    check_batch(x)
    if chunk is not None and chunk < 1:
        raise ConfigError(f"chunk must be at least 1, not {chunk}.")
    f = one_function(f, x)
    if method == "forward":
        return _forward(f, x, x[0].numel() if chunk is None else chunk)
    if method == "exact":
        return _exact(f, x, 32 if chunk is None else chunk)
    if method != "hutchinson":
        raise unknown_name("Laplacian method", method, ["exact", "forward", "hutchinson"])
    if probes < 1:
        raise ConfigError(f"probes must be at least 1, not {probes}.")
    source = torch.default_generator if generator is None else generator
    draws = [jets.second(f, x, probe(x, source))[2].reshape(len(x), -1) for _ in range(probes)]
    return torch.stack(draws).mean(0)


def _forward(f: Differentiable, x: Tensor, chunk: int) -> Tensor:
    parts = [jets.push_forward(f, x, directions, order=2)[2] for directions in torch.split(unit_directions(x), chunk)]
    return torch.stack(parts).sum(0).reshape(len(x), -1)


def _exact(f: OneFunction, x: Tensor, chunk: int) -> Tensor:
    """The diagonal of the Hessian by double backward, output by output."""
    create = torch.is_grad_enabled()
    chunk = 1 if f.settled().random else chunk  # copies of the batch would have masks of their own
    parts = []
    for many, v in basis(x, chunk):
        with torch.enable_grad():
            point = leaf(many)
            columns = output_of(f, point).reshape(len(point), -1).unbind(1)
            bends = [_second_derivative(h, point, v, create) for h in columns]
        parts.append(torch.stack(bends, 1).reshape(-1, len(x), len(columns)).sum(0))
    return torch.stack(parts).sum(0)


def _second_derivative(h: Tensor, x: Tensor, v: Tensor, create: bool) -> Tensor:
    """v^T H v of one output (batch,)."""
    gradient = pull_back(h, x, create=True)
    if not gradient.requires_grad:
        return torch.zeros_like(h)
    product = pull_back(gradient, x, v, create=create, retain=True, unused_is_zero=True)
    return (product * v).flatten(1).sum(1)
