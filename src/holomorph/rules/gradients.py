"""Gradients of a rule's risk by points and parameters at once, and what compiled networks cannot do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from holomorph.calculus.risk_gradient import CUT_OFF, input_gradient
from holomorph.errors import ConfigError, NotDifferentiableError


def spend(risk: Tensor, x: Tensor, parameters: Iterable[nn.Parameter], *, keep: bool = False) -> tuple[Tensor, Tensor]:
    r"""Differentiate by the points and the parameters in one backward pass, now.

    Returns $\nabla_x \ell$ of each sample and the mean risk as a scalar whose own backward pass only hands out the
    gradients of the parameters that are already known. The graph of the risks is freed unless ``keep``.

    Raises
    ------
    NotDifferentiableError
        For a network whose output is cut off from its input.

    >>> layer, x = nn.Linear(2, 1, bias=False), torch.ones(1, 2, requires_grad=True)
    >>> gradient, mean = spend(layer(x).sum(1), x, layer.parameters())
    >>> mean.backward()
    >>> torch.equal(gradient, layer.weight), torch.equal(layer.weight.grad, x)
    (True, True)
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:  # a function shows none: whatever it holds is reached by the graph
        return input_gradient(risk, x), risk.mean()
    if not risk.requires_grad:
        raise NotDifferentiableError(CUT_OFF)
    gradient, *known = torch.autograd.grad(risk.sum(), [x, *trained], allow_unused=True, retain_graph=keep)
    if gradient is None:
        raise NotDifferentiableError(CUT_OFF)
    return gradient, _Spent.apply(risk.detach().mean(), len(risk), known, *trained)  # type: ignore[no-untyped-call]


class _Spent(torch.autograd.Function):
    """A mean whose gradients are known from its sum's."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, count: int, known: list[Tensor | None], *parameters: Tensor) -> Tensor:
        ctx.count, ctx.known = count, known
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(None if g is None else outer / ctx.count * g for g in ctx.known)


def is_compiled(model: nn.Module) -> bool:
    """Whether the network, or a part of it, went through ``torch.compile``."""
    return bool(compiled_parts(model.modules()))


def compiled_parts(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Those that went through ``torch.compile``, wrapped or in place."""
    return [m for m in modules if "_orig_mod" in m._modules or m._compiled_call_impl is not None]


def require_double_backward(model: nn.Module) -> None:
    """Refuse a compiled network: ``torch.compile`` cannot differentiate a gradient.

    Raises
    ------
    ConfigError
        Naming the rules that need a single backward pass.

    >>> require_double_backward(nn.Linear(2, 2))
    """
    if is_compiled(model):
        raise ConfigError(
            "This rule differentiates a gradient, which torch.compile cannot. Use one that needs a single backward "
            "pass (finite, nfgsm, dirichlet with estimator='finite-difference'), or the model before compiling."
        )
