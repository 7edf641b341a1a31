"""The one door: everything that comes in from outside is looked at here, and the model is a guest."""

from collections.abc import Callable

from torch import Tensor

from holomorph.contract.data import as_long, check_batch
from holomorph.contract.settings import at_least_one

#: A differentiable map from a batch of inputs to a batch of outputs: an ``nn.Module`` or a function.
Differentiable = Callable[[Tensor], Tensor]

__all__ = ["Differentiable", "as_long", "at_least_one", "check_batch"]
