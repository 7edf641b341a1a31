"""A function that is one function although it is called several times: the same masks, the same statistics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import batch_norm, instance_norm
from torch.overrides import TorchFunctionMode

from holomorph.calculus.draws import Draws
from holomorph.calculus.elementary import NORMALISATIONS, NormCall, decomposed
from holomorph.calculus.elementary import batch_norm as elementary_batch_norm
from holomorph.contract import Differentiable
from holomorph.errors import ModelError

_Statistics = tuple[Tensor, Tensor]


class OneFunction:
    r"""f with the random masks of its first call, and with BatchNorm's statistics at the points x, in every call.

    So a difference $f(x + v) - f(x)$ is that of a function, and every way to differentiate f sees the same one.
    In training mode the statistics of BatchNorm are those of the batch x. They carry a graph for the parameters,
    but do not count as functions of the input, for else the samples would mix; running statistics stay as they are.
    Where derivatives are wanted, normalisation runs in elementary operations, whose derivatives of every order torch
    gets right.

    >>> drop, x = torch.nn.Dropout(), torch.ones(2, 8)
    >>> f = OneFunction(drop, x)
    >>> torch.equal(f(x), f(x))
    True
    """

    def __init__(self, f: Differentiable, x: Tensor) -> None:
        self.function, self._x = f, x
        self._draws: Draws | None = None
        self._statistics: list[_Statistics] | None = None
        #: Whether f draws random numbers; known after the first call.
        self.random = False

    def __call__(self, x: Any) -> Any:
        """f(x)."""
        if self._draws is not None:
            with self._draws.again():
                return self._evaluate(x)
        self._draws = Draws(self._x)
        try:
            result = self._evaluate(x)
        except _StatisticsNeededError:
            self._learn()
            result = self._evaluate(x)
        self.random = self._draws.moved()
        return result

    def settled(self) -> OneFunction:
        """Call f where it was not called yet, so that ``random`` is known."""
        if self._draws is None:
            self(self._x.detach())
        return self

    def _evaluate(self, x: Any) -> Any:
        with _Norms(None if self._statistics is None else iter(self._statistics)):
            return self.function(x)

    def _learn(self) -> None:
        """Take BatchNorm's statistics at the points themselves, without a graph for them."""
        learned: list[_Statistics] = []
        if self._draws is not None:
            with self._draws.again(), _Norms(None, learned):
                self.function(self._x.detach())
            self._draws.rewind()
        self._statistics = learned


def one_function(f: Differentiable, x: Tensor) -> OneFunction:
    """f itself, if it is one function already."""
    return f if isinstance(f, OneFunction) else OneFunction(f, x)


class _StatisticsNeededError(Exception):
    """A BatchNorm in training mode whose statistics are not known yet."""


class _Norms(TorchFunctionMode):
    """Gives BatchNorm its statistics (or notes them), and autograd the elementary form of every normalisation."""

    def __init__(self, known: Iterator[_Statistics] | None, learned: list[_Statistics] | None = None) -> None:
        super().__init__()
        self._known, self._learned = known, learned

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace normalisations."""
        if func is batch_norm:
            return self._batch_norm(NormCall(*args, **(kwargs or {})))
        if func is instance_norm:
            args, kwargs = _without_trace(*args, **(kwargs or {}))
        kwargs = kwargs or {}
        tensors = [leaf for leaf in (*args[:2], *kwargs.values()) if isinstance(leaf, Tensor)]
        if tensors and _differentiated(tensors):
            return decomposed(func, args, kwargs, NORMALISATIONS)
        return func(*args, **kwargs)

    def _batch_norm(self, given: NormCall) -> Any:
        if given.training or given.running_mean is None or given.running_var is None:
            mean, variance = self._statistics_of(given.input)
            given = given._replace(running_mean=mean, running_var=variance, training=False)
        apply = elementary_batch_norm if type(given.input) is Tensor else batch_norm  # the latter for jets
        return apply(*given)

    def _statistics_of(self, input: Tensor) -> _Statistics:
        if self._learned is not None:
            variance, mean = torch.var_mean(input, [0, *range(2, input.ndim)], correction=0)
            self._learned.append((mean, variance))
            return self._learned[-1]
        if self._known is None:
            raise _StatisticsNeededError
        found = next(self._known, None)
        if found is None:
            raise ModelError(
                "The function called BatchNorm in training mode more often than at the points themselves. "
                "Call model.eval() first."
            )
        return found


def _differentiated(tensors: list[Tensor]) -> bool:
    """Whether torch itself differentiates this: plain tensors, and a gradient is wanted."""
    return all(type(t) in (Tensor, Parameter) for t in tensors) and any(t.requires_grad for t in tensors)


def _without_trace(
    input: Any,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    **rest: float,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of InstanceNorm, so that it does not learn."""
    if use_input_stats:
        running_mean = running_var = None
    return (input, running_mean, running_var, weight, bias, use_input_stats), rest
