"""A classifier as attacks and measurements see it: logits out, predictions and margins from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from holomorph._utils.memory import halving
from holomorph.contract import Differentiable
from holomorph.errors import ModelError


def margin(logits: Tensor, y: Tensor) -> Tensor:
    r"""$m = h_y - \max_{j \ne y} h_j$ of each sample, shape (batch,): positive where the prediction is correct.

    The one margin of the whole package, with the one sign.

    >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
    tensor([1.])
    """
    own = logits.gather(1, y[:, None])[:, 0]
    return own - logits.scatter(1, y[:, None], -torch.inf).amax(1)


class Classifier(nn.Module):
    r"""A classifier: inputs in their box to logits of shape (batch, classes).

    A single output z becomes the two logits (-z/2, z/2), so that class 1 is predicted where z > 0. Outputs of a
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

    def predictions(self, x: Tensor, batch_size: int = 500) -> Tensor:
        """Return the class of each sample; -1, which no label equals, where a logit is NaN."""
        logits = self.logits(x, batch_size)
        return logits.argmax(1).masked_fill(logits.isnan().any(1), -1)

    def margins(self, x: Tensor, y: Tensor, batch_size: int = 500) -> Tensor:
        """The :func:`margin` of each sample; 0 where rounding decides, -1 where a logit is NaN.

        The nearest adversarial inputs lie on the boundary up to rounding, and the order of a sum depends on the batch.
        """
        logits = self.logits(x, batch_size)
        m = margin(logits, y)
        rounding = 32 * torch.finfo(logits.dtype).eps * logits.abs().amax(1)
        return torch.where(m.abs() <= rounding, 0.0, m).nan_to_num(nan=-1.0)
