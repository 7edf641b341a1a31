"""Input gradients of a rule's risk that stay part of the graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from holomorph.errors import ConfigError, NotDifferentiableError


def input_gradient(risk: Tensor, x: Tensor, *, graph: bool = False) -> Tensor:
    r"""$\nabla_x \ell$ of each sample, from the risks (batch,) of the points x that gave them.

    ``graph`` says whether the gradient will itself be differentiated.

    Raises
    ------
    NotDifferentiableError
        For a network whose output is cut off from its input.

    >>> x = torch.ones(1, 2, requires_grad=True)
    >>> input_gradient(x.square().sum(1), x)
    tensor([[2., 2.]])
    """
    try:
        (gradient,) = torch.autograd.grad(risk.sum(), x, create_graph=graph, retain_graph=True)
    except RuntimeError as error:
        if "does not require grad" not in str(error) and "not have been used" not in str(error):
            raise
        raise NotDifferentiableError(
            "The loss does not depend differentiably on the input, so there is no gradient to follow. "
            "Look for detach(), no_grad() or integer operations inside the model."
        ) from None
    return gradient


def require_double_backward(model: nn.Module) -> None:
    """Refuse a compiled network: ``torch.compile`` cannot differentiate a gradient.

    Raises
    ------
    ConfigError
        Naming the rules that need a single backward pass.

    >>> require_double_backward(nn.Linear(2, 2))
    """
    if any("_orig_mod" in module._modules for module in model.modules()):
        raise ConfigError(
            "This rule differentiates a gradient, which torch.compile cannot. Use one that needs a single backward "
            "pass (finite, nfgsm, dirichlet with estimator='finite-difference'), or the model before compiling."
        )
