"""Several passes of one rule through one network: the same masks, the same statistics, the modes left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

_Statistics = tuple[Tensor, Tensor]


class Passes:
    r"""A network seen as one function of its input, although it is called several times in a training step.

    :meth:`first` is an ordinary call: BatchNorm normalises by the batch and learns its running statistics once.
    :meth:`again` evaluates further points of the same shape with the statistics and the random masks of the first
    call, and changes neither. So a difference $h(x + \delta) - h(x)$ is that of a function, not of two networks.

    Gradients of the parameters flow through the shared statistics. Inside ``torch.compile`` the statistics cannot
    be observed; then further points are normalised by their own batch, and still leave no trace.

    Source: docs/rules.md.

    >>> model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    >>> passes, x = Passes(model), torch.rand(4, 2)
    >>> torch.allclose(passes.first(x), passes.again(x), atol=1e-5)
    True
    >>> int(model[1].num_batches_tracked)
    1
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._training = any(module.training for module in model.modules())
        self._norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]
        self._statistics: dict[_BatchNorm, _Statistics] = {}
        self._random: tuple[Tensor, Tensor | None] | None = None

    @property
    def shares_statistics(self) -> bool:
        """Whether further passes lead back into the graph of the first one, through the statistics of BatchNorm."""
        return bool(self._norms)

    def first(self, x: Tensor) -> Tensor:
        """Call the network and remember its masks and statistics."""
        if self._training:
            self._random = torch.get_rng_state(), torch.cuda.get_rng_state(x.device) if x.is_cuda else None
        with _hooked(self._norms, self._remember, before=True):
            return self.model(x)

    def again(self, x: Tensor, parameters: Mapping[nn.Parameter, Tensor] | None = None) -> Tensor:
        """Evaluate further points of the same function, or of its neighbour with other tensors as parameters.

        Other weights need other statistics: with ``parameters`` the batch's own are used, and still not learned.
        """
        if parameters is not None:
            with self._same_masks(x), self._no_trace(), _replaced(self.model, parameters):
                return self.model(x)
        with self._same_masks(x), self._no_trace(), _hooked(list(self._statistics), self._replace):
            return self.model(x)

    def _remember(self, module: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].float() if inputs[0].dtype in (torch.float16, torch.bfloat16) else inputs[0]
        dims = [d for d in range(x.ndim) if d != 1]
        self._statistics[module] = x.mean(dims), x.var(dims, correction=0)

    def _replace(self, module: _BatchNorm, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        mean, var = self._statistics[module]
        scale = (var + module.eps).rsqrt()
        shift = -mean * scale
        if module.affine:
            scale, shift = scale * module.weight, shift * module.weight + module.bias
        shape = (1, -1, *(1,) * (inputs[0].ndim - 2))
        return (inputs[0] * scale.reshape(shape) + shift.reshape(shape)).to(output.dtype)

    @contextmanager
    def _same_masks(self, x: Tensor) -> Iterator[None]:
        if self._random is None:
            yield
            return
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            torch.set_rng_state(self._random[0])
            if self._random[1] is not None:
                torch.cuda.set_rng_state(self._random[1], x.device)
            yield

    @contextmanager
    def _no_trace(self) -> Iterator[None]:
        tracking = [(m, m.track_running_stats) for m in self._norms]
        try:
            for module in self._norms:
                module.track_running_stats = False
            yield
        finally:
            for module, value in tracking:
                module.track_running_stats = value


@contextmanager
def _hooked(modules: Sequence[nn.Module], hook: Callable[..., object], *, before: bool = False) -> Iterator[None]:
    with ExitStack() as stack:
        for module in modules:
            handle: RemovableHandle = (
                module.register_forward_pre_hook(hook) if before else module.register_forward_hook(hook)
            )
            stack.callback(handle.remove)
        yield


@contextmanager
def _replaced(model: nn.Module, tensors: Mapping[nn.Parameter, Tensor]) -> Iterator[None]:
    # Not torch.func.functional_call: where a wrapper holds one module under two names it does not restore all.
    places = [
        (module._parameters, name, parameter)
        for module in model.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and parameter in tensors
    ]
    try:
        for table, name, parameter in places:
            table[name] = tensors[parameter]  # type: ignore[assignment]
        yield
    finally:
        for table, name, parameter in places:
            table[name] = parameter
