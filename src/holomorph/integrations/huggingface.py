"""Models that take several inputs, such as those of transformers, as functions of one: the embeddings."""

from typing import Any

from torch import Tensor, nn


class GivenInputs(nn.Module):
    """A model with the further inputs of one batch, as a function of the input that is perturbed.

    Rules see the module behind it, its dropout, statistics and parameters, which a ``lambda`` would hide.

    Parameters
    ----------
    model:
        Called with keywords; returns logits, or an object or dict with ``logits``.
    name:
        Of the input that is perturbed.
    inputs:
        All others, for this batch: an attention mask, token types.

    Source: the page on loops shows a ``Trainer`` of transformers with it.

    Examples
    --------
    >>> import torch
    >>> product = GivenInputs(nn.Bilinear(2, 2, 3), name="input1", input2=torch.ones(4, 2))
    >>> product(torch.ones(4, 2)).shape
    torch.Size([4, 3])
    """

    def __init__(self, model: nn.Module, name: str = "inputs_embeds", **inputs: Any) -> None:
        super().__init__()
        self.model, self.name, self.inputs = model, name, inputs
        self.training = model.training

    def forward(self, x: Tensor) -> Any:
        """Return what the model returns."""
        return self.model(**{self.name: x}, **self.inputs)
