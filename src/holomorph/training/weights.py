"""Samples and classes that count more than others, for every rule alike: they are drawn more often."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.class_weight import compute_sample_weight
from torch import Tensor

from holomorph.contract import class_indices
from holomorph.contract.data import as_tensor
from holomorph.errors import DataError, unknown_name

#: A weight for each class, in order or by its number, or "balanced": each class counts alike.
ClassWeight = str | Mapping[int, float] | Sequence[float]


def weights_of(y: Tensor, sample_weight: Any = None, class_weight: ClassWeight | None = None) -> Tensor | None:
    """The weight of each sample, (samples,), with mean 1: its own times that of its class; None where all are alike.

    Raises
    ------
    ConfigError, DataError
        For an unknown word, another number of weights, negative weights, or none above 0.

    >>> weights_of(torch.tensor([0, 0, 0, 1]), class_weight="balanced").tolist()
    [0.6666666666666666, 0.6666666666666666, 0.6666666666666666, 2.0]
    """
    if sample_weight is None and class_weight is None:
        return None
    if isinstance(class_weight, str) and class_weight != "balanced":
        raise unknown_name("class weight", class_weight, ["balanced"])
    given = dict(enumerate(class_weight)) if isinstance(class_weight, list | tuple) else class_weight
    labels = class_indices(y).cpu().numpy()
    of_class = torch.as_tensor(compute_sample_weight(given, labels))
    own = torch.ones(len(y)) if sample_weight is None else as_tensor(sample_weight, "weights")
    if own.shape != (len(y),):
        raise DataError(
            f"sample_weight has the shape {tuple(own.shape)} for {len(y)} samples. Give one number a sample."
        )
    found = of_class.double() * own.double()
    if not (bool((found >= 0).all()) and 0 < float(found.sum()) < np.inf):
        raise DataError("The weights must be finite and not negative, and not all zero.")
    return found / found.mean()


def drawn(weights: Tensor, generator: torch.Generator) -> Tensor:
    r"""Indices of as many samples as there are, mixed, sample i $w_i$ times up to rounding and in the mean exactly.

    Whole weights repeat a sample as often in each epoch, and weight 0 leaves it out. Source: systematic sampling.

    >>> drawn(torch.tensor([0.0, 1.0, 2.0]), torch.Generator().manual_seed(0)).sort().values
    tensor([1, 2, 2])
    """
    reached = weights.double().cumsum(0)
    reached = reached * (len(weights) / reached[-1]) + torch.rand((), generator=generator, dtype=torch.float64)
    places = reached.add(1e-9).floor().long()
    places[-1] = len(weights)
    times = torch.diff(places, prepend=places.new_zeros(1)).clamp_min(0)
    order = torch.repeat_interleave(torch.arange(len(weights)), times)
    return order[torch.randperm(len(order), generator=generator)]
