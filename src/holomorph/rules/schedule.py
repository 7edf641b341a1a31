"""How settings move while training goes on."""

from __future__ import annotations


def ramped(weight: float, progress: float, ramp: float) -> float:
    r"""$w \min(1, t/\rho)$: from 0 at the start to the whole weight after the share ``ramp`` of training.

    Outside a training loop progress is 1 and the weight is whole.

    >>> ramped(2.0, 0.25, 0.5), ramped(2.0, 1.0, 0.5), ramped(2.0, 0.0, 0.0)
    (1.0, 2.0, 2.0)
    """
    return weight * min(1.0, progress / ramp) if ramp > 0 else weight
