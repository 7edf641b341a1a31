r"""The Dirichlet energy $D(h) = E_{x\sim\mu}\,\|\nabla h(x)\|^2$, exactly and by six estimators.

The points x are draws from $\mu$: the standard error is that of the mean over them, probes included.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from holomorph.calculus import jets
from holomorph.calculus.derivatives import jacobian, jvp, leaf, output_of, probe, pull_back, scalar_output
from holomorph.calculus.norms import dual_direction, norm, per_sample
from holomorph.calculus.one_function import one_function
from holomorph.contract import Differentiable, check_batch
from holomorph.errors import ConfigError, known_name


class Estimate(NamedTuple):
    """A mean with its standard error.

    Attributes
    ----------
    value:
        The mean, a scalar that carries a graph for the parameters.
    standard_error:
        Of the mean over independent points and probes; NaN for a single draw.
    samples:
        How many draws the mean is over: points times probes.
    each:
        The value of each point, (batch,), with its graph.
    """

    value: Tensor
    standard_error: Tensor
    samples: int
    each: Tensor


def dirichlet_energy(
    f: Differentiable,
    x: Tensor,
    method: str = "exact",
    *,
    q: float = 2.0,
    probes: int = 1,
    step: float | None = None,
    generator: torch.Generator | None = None,
    chunk: int = 1,
) -> Estimate:
    r"""$D(f) = \frac1N\sum_i \sum_k \|\nabla f_k(x_i)\|_q^2$: mean over the batch, sum over outputs, no factor 1/2.

    Parameters
    ----------
    f:
        (batch, ...) -> (batch, ...), real, differentiable, no mixing of samples.
    x:
        Points drawn from the measure; the energy is in squared output units per squared input unit.
    method:
        ============================  =======================================  =====================================
        name                          value of one point                      passes beside f(x); q
        ============================  =======================================  =====================================
        ``exact``                     $\sum_k \|\nabla f_k\|_q^2$               one backward an output; any q
        ``projection``                $|J^\top u|^2$, u random                  one backward, then double; 2
        ``input-projection``          $|Jv|^2$, v random, torch's forward mode  one forward mode pass; 2
        ``dual``                      $|Jv|^2$ by dual numbers                  one pass at twice the width; 2
        ``complex-step``              $|\Im f(x+itv)|^2/t^2$                    the same; real-analytic f only; 2
        ``antithetic``                $|f(x+tv)-f(x-tv)|^2/4t^2$                two forward; 2
        ``finite-difference``         $(f(x+ts)-f(x))^2/t^2$, s dual to grad f  one backward, one forward; any q
        ============================  =======================================  =====================================

        ``finite-difference`` is for scalar observables; its direction carries no graph.
        ``backward(inputs=parameters)`` on what took an input gradient spares the first layer's input gradient.
    q:
        1, 2 or infinity: the dual exponent of the threat.
    probes:
        Random directions a point, uniform on the sphere of radius sqrt(n): unbiased.
    step:
        t; by default such that the largest change of a coordinate is that of the sample's largest coordinate times
        eps^(1/3) (antithetic) or eps^(1/2) (finite difference), eps the precision; 1e-10 (complex step).
    generator:
        Draws the probes; torch's default generator if None.
    chunk:
        Outputs differentiated at once by ``exact``.

    Raises
    ------
    ConfigError
        For an unknown method, or a q that the method does not estimate.

    Source: docs/mathematics.md, section 2; [B22]. Projections: Hoffman et al. 2019; finite difference: Finlay and
    Oberman 2019.

    Examples
    --------
    >>> W = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> dirichlet_energy(lambda x: x @ W.T, torch.zeros(5, 2)).value  # |W|_F^2
    tensor(30.)
    """
    if q not in (1.0, 2.0, math.inf):
        raise ConfigError(f"q must be 1, 2 or infinity, not {q}.")
    if probes < 1:
        raise ConfigError(f"probes must be at least 1, not {probes}.")
    method = known_name("energy method", method, ["exact", "finite-difference", *_PROBED])
    check_batch(x)
    f = one_function(f, x)
    if method == "exact":
        return _estimate([_exact(f, x, q, chunk)])
    if method == "finite-difference":
        return _estimate([_finite_difference(f, x, q, step)])
    if q != 2.0:
        raise ConfigError(
            f"Random probes give the l_2 energy only (E|Jv|^2 = |J|_F^2), not q = {q:g}. "
            f"Use method 'exact', or 'finite-difference' for a scalar observable."
        )
    source = torch.default_generator if generator is None else generator
    return _estimate([_PROBED[method](f, x, step, source) for _ in range(probes)])


def dirichlet_gram(functions: Sequence[Differentiable], x: Tensor, chunk: int = 1) -> Tensor:
    r"""The matrix $D(f_a, f_b) = \frac1N\sum_i \langle J_a(x_i), J_b(x_i)\rangle_F$ of polarised energies.

    Assumes that all functions have the same number of outputs. Symmetric positive semidefinite, with the
    energies on the diagonal; $D(f-g) = D(f,f) - 2D(f,g) + D(g,g)$.

    Source: docs/mathematics.md, section 2.

    >>> dirichlet_gram([lambda x: x[:, :1], lambda x: x.sum(1, keepdim=True)], torch.zeros(1, 2))
    tensor([[1., 1.],
            [1., 2.]])
    """
    flat = [jacobian(f, x, chunk).flatten(1) for f in functions]
    if len({j.shape for j in flat}) > 1:
        raise ConfigError("The functions have different numbers of outputs; their energies have no inner product.")
    rows = torch.stack(flat, 1)
    return (rows @ rows.mT).mean(0)


def _estimate(values: list[Tensor]) -> Estimate:
    """Mean and standard error of values (batch,), one entry of the list a probe."""
    table = torch.stack(values)
    each = table.mean(0)
    independent = (each if len(each) > 1 else table[:, 0]).detach()
    count = len(independent)
    error = independent.std() / math.sqrt(count) if count > 1 else independent.new_full((), math.nan)
    return Estimate(each.mean(), error, table.numel(), each)


def _square(v: Tensor) -> Tensor:
    return v.square().flatten(1).sum(1) if v.ndim > 1 else v.square()


def _exact(f: Differentiable, x: Tensor, q: float, chunk: int) -> Tensor:
    rows = jacobian(f, x, chunk)
    if q == 2.0:
        return _square(rows)
    return norm(rows.flatten(0, 1), q).square().reshape(rows.shape[:2]).sum(1)


def _finite_difference(g: Differentiable, x: Tensor, q: float, step: float | None) -> Tensor:
    p = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[q]
    with torch.enable_grad():
        point = leaf(x)
        value = scalar_output(g, point)
        direction = dual_direction(pull_back(value, point, create=False, retain=True).detach(), p)
    if not torch.is_grad_enabled():
        value = value.detach()
    t = _step(step, x, direction, 1 / 2)
    return ((scalar_output(g, x + per_sample(t, x) * direction) - value) / t).square()


def _projection(f: Differentiable, x: Tensor, step: float | None, generator: torch.Generator) -> Tensor:
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        point = leaf(x)
        h = output_of(f, point).reshape(len(x), -1)
        return _square(pull_back(h, point, probe(h.detach(), generator), create=create))


def _input_projection(f: Differentiable, x: Tensor, step: float | None, generator: torch.Generator) -> Tensor:
    return _square(jvp(f, x, probe(x, generator))[1])


def _dual(f: Differentiable, x: Tensor, step: float | None, generator: torch.Generator) -> Tensor:
    return _square(jets.dual(f, x, probe(x, generator))[1])


def _complex_step(f: Differentiable, x: Tensor, step: float | None, generator: torch.Generator) -> Tensor:
    t = 1e-10 if step is None else step
    return _square(jets.complex(f, x, t * probe(x, generator))[1] / t)


def _antithetic(f: Differentiable, x: Tensor, step: float | None, generator: torch.Generator) -> Tensor:
    v = probe(x, generator)
    t = _step(step, x, v, 1 / 3)
    rise = output_of(f, x + per_sample(t, x) * v) - output_of(f, x - per_sample(t, x) * v)
    return _square(rise / (2 * per_sample(t, rise)))


def _step(step: float | None, x: Tensor, v: Tensor, power: float) -> Tensor:
    """t of each sample: by default the largest change is eps^power of the largest entry of x, or of 1 for x = 0."""
    if step is not None:
        if not step > 0:
            raise ConfigError(f"step must be positive, not {step}.")
        return x.new_full((len(x),), step)
    largest, change = (t.detach().flatten(1).abs().amax(1) for t in (x, v))
    size = torch.where(largest > 0, largest, 1.0)
    return torch.finfo(x.dtype).eps ** power * size / torch.where(change > 0, change, 1.0)


_Figure = Callable[[Differentiable, Tensor, float | None, torch.Generator], Tensor]
_PROBED: dict[str, _Figure] = {
    "projection": _projection,
    "input-projection": _input_projection,
    "dual": _dual,
    "complex-step": _complex_step,
    "antithetic": _antithetic,
}
