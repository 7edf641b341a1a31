"""A classifier as attacks and measurements see it: logits out, predictions, margins and slopes from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from holomorph._utils.fingerprint import digest, model_digest
from holomorph._utils.memory import halving, halving_with
from holomorph.contract.labels import class_indices
from holomorph.contract.model import Differentiable, Guest, evaluating
from holomorph.contract.snapshot import Isolated, Snapshot


def margin(logits: Tensor, y: Tensor) -> Tensor:
    r"""$m = h_y - \max_{j \ne y} h_j$ of each sample, shape (batch,): positive where the prediction is correct.

    The one margin of the whole package, with the one sign.

    >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
    tensor([1.])
    """
    index = class_indices(y)[:, None]
    own = logits.gather(1, index)[:, 0]
    return own - logits.scatter(1, index, -torch.inf).amax(1)


class Classifier(Guest):
    r"""A classifier: inputs in their box to logits of shape (batch, classes).

    A :class:`~holomorph.contract.model.Guest` whose predictions and margins can be asked for. It is made once, at the
    door, and handed on in place of the model. Outputs of a randomised model are averaged over ``draws`` passes, which
    turns every attack into one on the expectation.

    Parameters
    ----------
    model:
        A module or a function.
    differentiable:
        Whether white-box attacks may ask for gradients; as the model says of itself unless given.
    draws:
        Passes to average.
    first:
        The model as it was before its first call, where it is to be set back.

    Raises
    ------
    ModelError
        From the first call on whose output is not one row of finite numbers a sample.
    """

    def __init__(
        self,
        model: Differentiable,
        *,
        differentiable: bool | None = None,
        draws: int = 1,
        first: Snapshot | None = None,
    ) -> None:
        super().__init__(model)
        self.differentiable = getattr(model, "differentiable", True) if differentiable is None else differentiable
        self.draws = draws
        self.first = first

    def asked(self, *, differentiable: bool | None = None, draws: int = 1) -> Classifier:
        """The same model with other settings."""
        differentiable = self.differentiable if differentiable is None else differentiable
        return Classifier(self.model, differentiable=differentiable, draws=draws, first=self.first)

    def isolated(self, *, forgetful: bool, alone: bool) -> Classifier:
        """The same model, every call from its first state if ``forgetful``, every sample ``alone``."""
        if not forgetful and not alone:
            return self
        apart = Isolated(self.model, self.first if forgetful else None, alone=alone)
        return Classifier(apart, differentiable=self.differentiable, draws=self.draws, first=self.first)

    def restore(self) -> Self:
        """Set the model back to its first state, where that was noted."""
        if self.first is not None:
            self.first.restore()
        return self

    def stored(self) -> str:
        """A digest of everything that the model stores."""
        return model_digest(self.model)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; without gradients a tensor of their own, since Square overwrites what it is given."""
        if self.draws == 1:
            logits = super().forward(x)
            return logits if logits.requires_grad else logits.clone()
        return torch.stack([super(Classifier, self).forward(x) for _ in range(self.draws)]).mean(0)

    def slope(self, x: Tensor, loss: Callable[..., Tensor], *labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """``loss(logits, *labels)`` of each sample and its gradient by the input, in halves where memory ends.

        The gradient is None where none reaches the input.
        """

        def run(x: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor | None]:
            with torch.enable_grad():
                point = x.detach().clone().requires_grad_()
                values = loss(self(point), *labels)
                found = torch.autograd.grad(values.sum(), point, allow_unused=True)[0] if values.requires_grad else None
            return values.detach(), found

        def join(parts: list[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
            values, gradients = zip(*parts, strict=True)
            known = [gradient for gradient in gradients if gradient is not None]
            return torch.cat(values), torch.cat(known) if len(known) == len(parts) else None

        return halving_with(join, run, x, *labels)

    @torch.no_grad()
    def logits(self, x: Tensor, batch_size: int = 500) -> Tensor:
        """Return the logits of any number of samples, batch by batch, without gradients."""
        return torch.cat([halving(self, x[i : i + batch_size]) for i in range(0, len(x), batch_size)])

    def predictions(self, x: Tensor, batch_size: int = 500) -> Tensor:
        """Return the class of each sample; -1, which no label equals, where a logit is NaN."""
        logits = self.logits(x, batch_size)
        return logits.argmax(1).masked_fill(logits.isnan().any(1), -1)

    def mark(self, x: Tensor, batch_size: int = 500) -> str:
        """A digest of what the model stores and of its logits on these samples, which tell functions apart.

        Taken in evaluation mode and from one random state, which is given back.
        """
        with evaluating(self), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.stored() + digest(self.logits(x, batch_size))

    def margins(self, x: Tensor, y: Tensor, batch_size: int = 500) -> Tensor:
        """The :func:`margin` of each sample; 0 where rounding decides, -1 where a logit is NaN.

        The nearest adversarial inputs lie on the boundary up to rounding, and the order of a sum depends on the batch.
        The rounding error is that of the forward pass at the sample: four times the largest change of the margin when
        the inputs change in their last bit (on a GPU, whose products may keep eleven bits, in the eleventh).
        """
        m = margin(self.logits(x, batch_size), y)
        unit = torch.finfo(m.dtype).eps if m.device.type == "cpu" else 2.0**-11
        signs = 1 - 2 * (torch.arange(x[0].numel(), device=x.device) % 2).to(x.dtype).reshape(x.shape[1:])
        error = 0 * m
        for pattern in (torch.ones_like(signs), signs):
            near = margin(self.logits(x * (1 + unit * pattern), batch_size), y)
            error = torch.maximum(error, (near - m).abs())
        rounding = 4 * (error + torch.finfo(m.dtype).eps * m.abs())
        return torch.where(m.abs() <= rounding, 0.0, m).nan_to_num(nan=-1.0)
