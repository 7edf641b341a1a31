r"""Jets: a network evaluated together with a derivative, or off the real axis, in one pass, without rewriting it.

Any module or function of torch operations will do, residual connections and normalisation included. BatchNorm acts
with fixed statistics, Dropout with one mask for all parts. The results carry graphs for the parameters.
"""

from typing import Any

import torch
from torch import Tensor

from holomorph.calculus.derivatives import check_direction, check_finite, unit_directions
from holomorph.calculus.jets.branches import continued
from holomorph.calculus.jets.following import following
from holomorph.calculus.jets.imaginary import ComplexJet
from holomorph.calculus.jets.real import Jet
from holomorph.calculus.one_function import one_function
from holomorph.calculus.where import naming_the_module
from holomorph.contract import Differentiable, check_batch
from holomorph.errors import DomainError, NotDifferentiableError

__all__ = ["analytic_extension", "complex", "dual", "push_forward", "second", "value_gradient_laplacian"]


def dual(model: Differentiable, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    r"""$(h(x), Jv)$ by dual numbers $x + \epsilon v$, $\epsilon^2 = 0$; both of the shape of the output.

    Needs one backward pass for parameter gradients, never a double one. A model that went through ``torch.compile`` is
    run as it was before: compiled code cannot carry a second number.

    Parameters
    ----------
    model:
        (batch, ...) -> (batch, ...), real. Linear layers act on both parts, activations by fused derivative kernels,
        any other operation by torch's forward mode of that one operation.
    x, v:
        Points and directions of one shape and type.

    Raises
    ------
    NotDifferentiableError
        Where the output does not depend differentiably on the input.
    ModelError
        For what cannot be followed: writing into a jet, custom autograd functions.
    DomainError
        For a value that is NaN or infinite.

    Source: docs/mathematics.md, section 2.

    Examples
    --------
    >>> dual(torch.square, torch.tensor([[3.0]]), torch.tensor([[1.0]]))
    (tensor([[9.]]), tensor([[6.]]))
    """
    value, first, _ = push_forward(model, x, v[None], order=1)
    return value, first.squeeze(0)


def second(model: Differentiable, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""$(h(x), Jv, v^\top H v)$ by second-order jets; each of the shape of the output.

    Source: docs/mathematics.md, section 3.

    >>> second(lambda x: x**3, torch.tensor([[2.0]]), torch.tensor([[1.0]]))
    (tensor([[8.]]), tensor([[12.]]), tensor([[12.]]))
    """
    value, first, bend = push_forward(model, x, v[None], order=2)
    return value, first.squeeze(0), bend


def value_gradient_laplacian(model: Differentiable, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""$(h, J, \Delta h)$ pushed forward together (Li et al. 2023, the forward Laplacian).

    Shapes: the output's; (n, *output's), n the number of input coordinates; the output's. Time and memory are those of
    about n forward passes, whatever the number of outputs.

    Source: docs/mathematics.md, section 3.

    >>> value_gradient_laplacian(lambda x: x.square().sum(1), torch.ones(1, 2))
    (tensor([2.]), tensor([[2.],
            [2.]]), tensor([4.]))
    """
    return push_forward(model, x, unit_directions(x), order=2)


def push_forward(model: Differentiable, x: Tensor, directions: Tensor, order: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""$h$, $Jv_j$ and, for order 2, $\sum_j v_j^\top H v_j$ for the m ``directions`` (m, *x.shape).

    Shapes: the output's; (m, *output's); the output's (empty for order 1).

    Source: docs/mathematics.md, sections 2 and 3.

    >>> push_forward(torch.square, torch.ones(1, 1), torch.ones(2, 1, 1), order=2)[2]
    tensor([[4.]])
    """
    check_batch(x)
    check_direction(x, directions[0])
    with following():
        result: Any = one_function(model, x)(Jet(x, directions, torch.zeros_like(x) if order == 2 else None))
    if isinstance(result, Jet):
        result.check()
    if not isinstance(result, Jet) or result.constant:
        raise NotDifferentiableError(
            "The output does not depend differentiably on the input. Look for detach(), argmax, rounding, or numpy "
            "inside the function."
        )
    check_finite(result.value)
    return result.value, result.first, x.new_empty(0) if result.second is None else result.second


def complex(model: Differentiable, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""$(\Re h(x+iy), \Im h(x+iy))$ for a real-analytic network h; both of the shape of the output.

    Assumes that $x + iy$ lies where h is analytic: anywhere for GELU, sin and polynomials; pre-activations with
    $|\Im| < \pi/2$ for tanh and $< \pi$ for SiLU, sigmoid and softplus.

    Raises
    ------
    NotHolomorphicError
        For ReLU, maximum pooling, absolute values and the like, naming the operation and the module.
    DomainError
        In half precision, past a branch point of softplus, where the branch of a logarithm or a root cannot be followed
        from x on, or where the value is not finite.

    Source: docs/mathematics.md, section 4.

    >>> complex(torch.square, torch.tensor([[3.0]]), torch.tensor([[1.0]]))  # (3 + i)^2
    (tensor([[8.]]), tensor([[6.]]))
    """
    check_batch(x)
    check_direction(x, y)
    if x.dtype.itemsize < 4:
        raise DomainError(
            f"There are no complex numbers of {x.dtype} parts. Give x, y and the model in float32 or float64."
        )
    with following(), naming_the_module(model):
        one = one_function(model, x)
        result: Any = continued(lambda a, b: one(ComplexJet(a, b)), x, y)
        if isinstance(result, ComplexJet):
            result.check()
    if not isinstance(result, ComplexJet):
        raise NotDifferentiableError(
            "The output does not depend on the input. Look for detach(), rounding, or numpy inside the function."
        )
    check_finite(result.value)
    return result.value, result.imaginary


def analytic_extension(model: Differentiable) -> Differentiable:
    r"""The analytic extension of a real network as a function of complex tensors.

    Source: docs/mathematics.md, section 4.

    >>> analytic_extension(torch.exp)(torch.tensor([[1j * torch.pi]])).real
    tensor([[-1.]])
    """

    def extended(z: Tensor) -> Tensor:
        return torch.complex(*complex(model, z.real, z.imag))

    return extended
