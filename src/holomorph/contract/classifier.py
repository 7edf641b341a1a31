"""A classifier as attacks and measurements see it: logits out, predictions and margins from them."""

from __future__ import annotations

import torch
from torch import Tensor

from holomorph._utils.fingerprint import digest
from holomorph._utils.memory import halving
from holomorph.contract.labels import class_indices
from holomorph.contract.model import Differentiable, Guest, evaluating


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

    A :class:`~holomorph.contract.model.Guest` whose predictions and margins can be asked for. Outputs of a randomised
    model are averaged over ``draws`` passes, which turns every attack into one on the expectation.

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
        super().__init__(model)
        self.differentiable = differentiable
        self.draws = draws

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; without gradients a tensor of their own, since Square overwrites what it is given."""
        if self.draws == 1:
            logits = super().forward(x)
            return logits if logits.requires_grad else logits.clone()
        return torch.stack([super(Classifier, self).forward(x) for _ in range(self.draws)]).mean(0)

    @torch.no_grad()
    def logits(self, x: Tensor, batch_size: int = 500) -> Tensor:
        """Return the logits of any number of samples, batch by batch, without gradients."""
        return torch.cat([halving(self, x[i : i + batch_size]) for i in range(0, len(x), batch_size)])

    def predictions(self, x: Tensor, batch_size: int = 500) -> Tensor:
        """Return the class of each sample; -1, which no label equals, where a logit is NaN."""
        logits = self.logits(x, batch_size)
        return logits.argmax(1).masked_fill(logits.isnan().any(1), -1)

    def behaviour(self, x: Tensor, batch_size: int = 500) -> str:
        """A digest of the logits of these samples: it tells models apart that differ in nothing they store.

        Taken in evaluation mode and from one random state, which is given back.
        """
        with evaluating(self), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return digest(self.logits(x, batch_size))

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
