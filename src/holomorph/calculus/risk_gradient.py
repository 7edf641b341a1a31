"""The input gradient of a risk, sample by sample, and how well two of them agree."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from holomorph.errors import ConfigError, NotDifferentiableError

#: What is said where no gradient reaches the input.
CUT_OFF = (
    "The loss does not depend differentiably on the input, so there is no gradient to follow. "
    "Look for detach(), no_grad() or integer operations inside the model."
)

#: What is said where compiled code throws away what a second backward pass would need.
DONATED = (
    "The risk of one forward pass is differentiated twice here, and torch.compile frees what that needs after the "
    "first time. Set torch._functorch.config.donated_buffer = False before the first step, or do not compile the model."
)


def gradient_of_risk(risk: Tensor, x: Tensor, *, graph: bool = False, keep: bool = False) -> Tensor:
    r"""$\nabla_x \ell$ of each sample, from the risks (batch,) of the points x that gave them.

    ``graph`` says whether the gradient will itself be differentiated, ``keep`` whether the risk will be
    differentiated once more. Networks that went through ``torch.compile`` often allow neither.

    Raises
    ------
    ConfigError
        For a compiled network whose risk is to be differentiated twice.
    NotDifferentiableError
        For a network whose output is cut off from its input.

    >>> x = torch.ones(1, 2, requires_grad=True)
    >>> gradient_of_risk(x.square().sum(1), x)
    tensor([[2., 2.]])
    """
    try:
        (gradient,) = torch.autograd.grad(risk.sum(), x, create_graph=graph, retain_graph=graph or keep)
    except RuntimeError as error:
        if "donated" in str(error):
            raise ConfigError(DONATED) from error
        if "does not require grad" not in str(error) and "not have been used" not in str(error):
            raise
        raise NotDifferentiableError(CUT_OFF) from None
    return gradient


def alignment(here: Tensor, there: Tensor, *, floor: float = 0.0) -> Tensor:
    r"""Mean cosine of each sample's gradients at two points, however small they are.

    Samples with no entry above ``floor`` in one of them are left out; without any the mean is 1.

    >>> here, there = torch.tensor([[1e-20, 0.0], [0.0, 0.0]]), torch.tensor([[3e-20, 4e-20], [1.0, 0.0]])
    >>> alignment(here, there)
    tensor(0.6000)
    """
    pair = [g.flatten(1) for g in (here, there)]
    sizes = [g.detach().abs().amax(1, keepdim=True) for g in pair]
    a, b = (g / s.clamp_min(torch.finfo(g.dtype).tiny) for g, s in zip(pair, sizes, strict=True))
    known = torch.minimum(*sizes).squeeze(1) > floor
    count = known.sum()
    return ((cosine_similarity(a, b, dim=1) * known).sum() + (count == 0)) / count.clamp_min(1)
