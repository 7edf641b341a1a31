"""Derivatives along a line by nested forward mode, in operations whose derivatives torch gets right."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from holomorph.calculus.elementary import COMPOSITES, ElementaryOperations, forward_mode
from holomorph.calculus.jets.nested import leaves, mapped
from holomorph.calculus.jets.operations import INSPECTING, in_place, is_float, name_of
from holomorph.calculus.nesting import check_nesting
from holomorph.calculus.one_function import one_function
from holomorph.contract import Differentiable


def along_line(f: Differentiable, x: Tensor, v: Tensor, order: int) -> Tensor:
    r"""$c_0, \dots, c_m$ with $f(x + tv) = \sum_k c_k t^k$; (order + 1, *the output's shape).

    The cost grows like 2^order evaluations of f. Every operation is first looked at for whether torch's nested
    derivatives of it agree.

    >>> along_line(lambda x: x**3, torch.ones(1, 1), torch.ones(1, 1), 3).flatten()
    tensor([1., 3., 3., 1.])
    """
    g = one_function(f, x)
    if order > 1:
        with torch.no_grad(), ElementaryOperations(), _Looking():
            g(x)

    def derivatives(point: Tensor, left: int) -> tuple[Tensor, ...]:
        if left == 0:
            return (g(point),)
        below, raised = forward_mode(lambda t: derivatives(t, left - 1), (point,), (v,), strict=left == 1)
        return (*below, raised[-1])

    terms = derivatives(x, order)
    return torch.stack([c / math.factorial(k) for k, c in enumerate(terms)])


class _Looking(TorchFunctionMode):
    """Looks at every operation on real numbers when it is first met."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Check, then run."""
        name, is_property = name_of(func)
        tensors = tuple(leaf for leaf in leaves((args, kwargs)) if is_float(leaf))
        known = name in INSPECTING or name in COMPOSITES or name == "grad"  # a gradient is no operation of its own
        if tensors and not (is_property or known or in_place(func, kwargs or {})):

            def call(*points: Tensor) -> Any:
                fill = iter(points)
                filled = mapped(lambda leaf: next(fill) if is_float(leaf) else leaf, (list(args), kwargs or {}))
                return func(*filled[0], **filled[1])

            check_nesting(name, call, tensors)
        return func(*args, **(kwargs or {}))
