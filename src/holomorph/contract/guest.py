"""The model as attacks see it: logits out, evaluation mode, nothing of the model changed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from holomorph._utils.memory import halving
from holomorph.contract import Differentiable
from holomorph.errors import ModelError


class Subject(nn.Module):
    r"""A classifier under attack: inputs in their box to logits of shape (batch, classes).

    A single output z becomes the two logits (-z/2, z/2), so that class 1 is answered where z > 0. Outputs of a
    randomised model are averaged over ``draws`` passes, which turns every attack into one on the expectation.

    Parameters
    ----------
    model:
        A module or a function.
    differentiable:
        Whether white-box attacks may ask for gradients.
    draws:
        Passes to average.

    Raises
    ------
    ModelError
        From the first call on whose output is not one row of finite numbers a sample.
    """

    def __init__(self, model: Differentiable, *, differentiable: bool = True, draws: int = 1) -> None:
        super().__init__()
        self.model = model
        self.differentiable = differentiable
        self.draws = draws

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; without gradients a tensor of their own, since Square overwrites what it is given."""
        if self.draws == 1:
            logits = self._logits(x)
            return logits if logits.requires_grad else logits.clone()
        return torch.stack([self._logits(x) for _ in range(self.draws)]).mean(0)

    def _logits(self, x: Tensor) -> Tensor:
        out = self.model(x)
        if not isinstance(out, Tensor):
            raise ModelError(f"The model returned {type(out).__name__}, not a tensor of logits (batch, classes).")
        if out.is_complex():
            raise ModelError("The model returned complex numbers. Add a read-out that returns real logits.")
        if out.ndim == 1 and len(out) == len(x):
            out = out.unsqueeze(1)
        if out.ndim != 2 or len(out) != len(x):
            raise ModelError(
                f"The model returned the shape {tuple(out.shape)} for {len(x)} samples; logits have the shape "
                f"(batch, classes)."
            )
        return torch.cat([-out / 2, out / 2], 1) if out.shape[1] == 1 else out

    @torch.no_grad()
    def logits(self, x: Tensor, batch_size: int = 500) -> Tensor:
        """Return the logits of any number of samples, batch by batch, without gradients."""
        return torch.cat([halving(self, x[i : i + batch_size]) for i in range(0, len(x), batch_size)])

    def answers(self, x: Tensor, batch_size: int = 500) -> Tensor:
        """Return the class of each sample; -1, which no label equals, where a logit is NaN."""
        logits = self.logits(x, batch_size)
        return logits.argmax(1).masked_fill(logits.isnan().any(1), -1)

    def lead(self, x: Tensor, y: Tensor, batch_size: int = 500) -> Tensor:
        """The label's logit above its strongest rival's; 0 where rounding decides, -1 where a logit is NaN.

        The nearest adversarial inputs lie on the boundary up to rounding, and the order of a sum depends on the batch.
        """
        logits = self.logits(x, batch_size)
        ahead = -margin(logits, y)
        rounding = 32 * torch.finfo(logits.dtype).eps * logits.abs().amax(1)
        return torch.where(ahead.abs() <= rounding, 0.0, ahead).nan_to_num(nan=-1.0)


class InSingle(nn.Module):
    """A model in half precision as a function of inputs in single: a distance and a radius need the digits."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        self.differentiable = getattr(model, "differentiable", True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the model's outputs."""
        return self.model(x.to(self.dtype))


def in_single(model: Differentiable) -> Differentiable:
    """The model itself, or one in half precision as :class:`InSingle`."""
    first = _first(model)
    if isinstance(model, nn.Module) and first is not None and first.dtype in (torch.float16, torch.bfloat16):
        return InSingle(model, first.dtype)
    return model


def suited(model: Differentiable, values: Tensor) -> Tensor:
    """Move values to the model's device and, where both are floating point, to its precision."""
    first = _first(model)
    if first is None:
        return values
    floating = first.is_floating_point() and values.is_floating_point()
    own = torch.float32 if isinstance(model, InSingle) else first.dtype
    return values.to(first.device, own if floating else values.dtype)


def _first(model: Differentiable) -> nn.Parameter | None:
    return next(model.parameters(), None) if isinstance(model, nn.Module) else None


@contextmanager
def under_attack(model: Differentiable) -> Iterator[None]:
    """Put a model in evaluation mode with fixed parameters, and give every module its own state back.

    Attacks such as FAB call ``backward``: with the parameters fixed nothing is added to their gradients.
    The global random state is given back too, since attack packages seed it.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    parameters = [p for module in modules for p in module.parameters(recurse=False)]
    modes = [module.training for module in modules]
    wanted = [p.requires_grad for p in parameters]
    try:
        for module in modules:
            module.training = False
        for p in parameters:
            p.requires_grad_(False)
        with torch.random.fork_rng(devices=_cuda_devices()):
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for p, want in zip(parameters, wanted, strict=True):
            p.requires_grad_(want)


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []


def margin(logits: Tensor, y: Tensor) -> Tensor:
    r"""$\max_{j\ne y} h_j - h_y$ of each sample, positive where the answer is wrong; shape (batch,).

    >>> margin(torch.tensor([[2.0, 0.5, 1.0]]), torch.tensor([0]))
    tensor([-1.])
    """
    own = logits.gather(1, y[:, None]).squeeze(1)
    mask = nn.functional.one_hot(y, logits.shape[1]).bool()
    return logits.masked_fill(mask, -torch.inf).amax(1) - own
