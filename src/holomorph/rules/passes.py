"""Several passes of one rule through one network: the same masks, the same statistics, the modes left alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.overrides import TorchFunctionMode

from holomorph._utils.seeding import random_states, replaying
from holomorph.calculus.elementary import NormCall
from holomorph.calculus.risk_gradient import gradient_of_risk
from holomorph.contract.compiled import compiled_parts, is_compiled

_Statistics = tuple[Tensor, Tensor]

_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_INSTANCE = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


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
        modules = list(model.modules())
        self._training = any(module.training for module in modules)
        self._tracking = [m for m in modules if isinstance(m, _BATCH + _INSTANCE) and m.training]
        compiled = {m for part in compiled_parts(modules) for m in part.modules()}
        self._norms = [m for m in self._tracking if isinstance(m, _BATCH) and m not in compiled]
        self._statistics: list[_Statistics] = []
        self._random: tuple[Tensor, ...] | None = None

    @property
    def shares_statistics(self) -> bool:
        """Whether further passes lead back into the graph of the first one, through the statistics of BatchNorm."""
        return bool(self._norms)

    def first(self, x: Tensor) -> Tensor:
        """Call the network and remember its masks and statistics."""
        if self._training:
            self._random = random_states(x.device)
        self._statistics = []
        with _inside(self._norms, self._remember):
            return self.model(x)

    def again(self, x: Tensor, parameters: Mapping[nn.Parameter, Tensor] | None = None) -> Tensor:
        """Evaluate further points of the same function, or of its neighbour with other tensors as parameters.

        Other weights need other statistics: with ``parameters`` the batch's own are used, and still not learned.
        """
        if parameters is not None:
            with self._same_masks(x), self._no_trace():
                return called_with(self.model, parameters, x)
        with self._same_masks(x), self._no_trace(), _inside(self._norms, _recalling(self._statistics)):
            return self.model(x)

    def slope(self, x: Tensor, value: Tensor, objective: Callable[[Tensor], Tensor]) -> Tensor:
        r"""$\nabla_x$ of the values (batch,) that ``objective`` made of the first pass through x.

        The values can be differentiated by the parameters afterwards. Compiled code allows one derivative of a pass;
        there the gradient is taken in a further pass through the same function.
        """
        if not is_compiled(self.model):
            return gradient_of_risk(value, x, keep=True)
        leaf = x.detach().requires_grad_()
        return gradient_of_risk(objective(self.again(leaf)), leaf)

    def _remember(self, given: NormCall) -> Tensor:
        if not given.training:
            return batch_norm(*given)
        x, mean, var = given[:3]
        half = x.dtype in (torch.float16, torch.bfloat16)
        own = torch.zeros(2, x.shape[1], dtype=torch.float32 if half else x.dtype, device=x.device)
        # a momentum of 1 hands out the batch's own statistics
        out = batch_norm(*given._replace(running_mean=own[0], running_var=own[1], momentum=1.0))
        if mean is not None and var is not None:
            mean.mul_(1 - given.momentum).add_(own[0], alpha=given.momentum)
            var.mul_(1 - given.momentum).add_(own[1], alpha=given.momentum)
        count = x.numel() // x.shape[1]
        self._statistics.append(_Known.apply(x, own[0].clone(), own[1] * ((count - 1) / count)))  # type: ignore[no-untyped-call]
        return out

    def _same_masks(self, x: Tensor) -> AbstractContextManager[None]:
        return nullcontext() if self._random is None else replaying(self._random, x.device)

    @contextmanager
    def _no_trace(self) -> Iterator[None]:
        kept = [(m, m.track_running_stats, m.running_mean, m.running_var) for m in self._tracking]
        try:
            for module in self._tracking:
                module.track_running_stats = False
                module.running_mean = module.running_var = None  # InstanceNorm learns if it has them
            yield
        finally:
            for module, tracks, mean, var in kept:
                module.track_running_stats, module.running_mean, module.running_var = tracks, mean, var


def _recalling(statistics: Iterable[_Statistics]) -> Callable[[NormCall], Tensor]:
    """Make a ``batch_norm`` that takes the statistics of an earlier pass, one call after another."""
    left = iter(statistics)

    def replacement(given: NormCall) -> Tensor:
        known = next(left, None) if given.training else None
        if known is None:
            return batch_norm(*given)
        return _normalised(given.input, *known, given.weight, given.bias, given.eps)

    return replacement


class _Known(torch.autograd.Function):
    """Mean and variance of a batch whose values are known already; their derivative by the batch is the usual one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, var: Tensor) -> _Statistics:
        ctx.mark_dirty(mean, var)
        ctx.save_for_backward(x, mean)
        return mean, var

    @staticmethod
    def backward(ctx: Any, outer: Tensor, outer_var: Tensor) -> tuple[Tensor, None, None]:
        x, mean = ctx.saved_tensors
        shape = (1, -1, *(1,) * (x.ndim - 2))
        slope = 2 * outer_var
        level = (outer - slope * mean).reshape(shape)
        return ((x * slope.reshape(shape) + level) / (x.numel() // x.shape[1])).to(x.dtype), None, None


def _normalised(x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Normalise by known statistics in torch's own fused operation, which does not differentiate by them.

    So their change goes into weight and bias: of value 1 and 0, but with the derivatives of the statistics.
    """
    still, fixed = mean.detach(), var.detach()
    scale = ((fixed + eps) / (var + eps)).sqrt()
    shift = (still - mean) * (var + eps).rsqrt()
    if weight is not None:
        scale, shift = scale * weight, shift * weight
    if bias is not None:
        shift = shift + bias
    return batch_norm(x, still, fixed, scale, shift, training=False, eps=eps)


class _BatchNorms(TorchFunctionMode):
    """Lets a function of ours answer for ``batch_norm``."""

    def __init__(self, replacement: Callable[[NormCall], Tensor]) -> None:
        super().__init__()
        self._replacement = replacement

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is batch_norm:
            return self._replacement(NormCall(*args, **(kwargs or {})))
        return function(*args, **(kwargs or {}))


@contextmanager
def _inside(norms: Sequence[nn.Module], replacement: Callable[[NormCall], Tensor]) -> Iterator[None]:
    # In the modules only: everywhere else torch need not ask.
    mode = _BatchNorms(replacement)

    def enter(*_: object) -> None:
        mode.__enter__()  # type: ignore[no-untyped-call]

    def leave(*_: object) -> None:
        mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    with ExitStack() as stack:
        for norm in norms:
            stack.callback(norm.register_forward_pre_hook(enter).remove)
            stack.callback(norm.register_forward_hook(leave, always_call=True).remove)
        yield


def called_with(model: nn.Module, tensors: Mapping[Any, Tensor], x: Tensor) -> Tensor:
    """Call the network with other tensors as parameters and buffers; a module under two names is changed once."""
    places = {
        f"{path}.{name}" if path else name: tensors[own]
        for path, module in model.named_modules()
        for name, own in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        if own in tensors
    }
    return torch.func.functional_call(model, places, (x,), tie_weights=False)
