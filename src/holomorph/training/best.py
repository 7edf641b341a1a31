"""The best epoch of a run, and from when a run ends with it."""

from dataclasses import dataclass, field

from torch import Tensor

#: From which loss of robust accuracy on a run ends with the weights of its best epoch instead of its last.
WORSE = 0.02


@dataclass(frozen=True)
class Best:
    """The most robust epoch so far, with the weights that the run would have ended with there."""

    robust: float = -1.0
    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
