"""Models that take several inputs, such as those of transformers, as functions of one: the embeddings."""

from __future__ import annotations

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

    Examples
    --------
    In a ``Trainer`` of transformers::

        class RobustTrainer(Trainer):
            rule = hm.FiniteEnergy(hm.ThreatModel(2, 0.1, box=(-10, 10)))

            def compute_loss(self, model, inputs, return_outputs=False, **_):
                labels, ids = inputs.pop("labels"), inputs.pop("input_ids")
                embedded = model.get_input_embeddings()(ids)
                outputs = model(inputs_embeds=embedded, **inputs)  # teaches the embeddings, too
                loss = cross_entropy(outputs.logits, labels)
                loss = loss + self.rule(GivenInputs(model, **inputs), embedded, labels)
                return (loss, outputs) if return_outputs else loss

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
