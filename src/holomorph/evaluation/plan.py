"""How much an evaluation may cost."""

from collections.abc import Callable

#: Gradients that a quick evaluation takes at most, attacks, baseline and checks together; an output is 0.4 of one.
#: A small CNN (0.45 ms a gradient) needs 45 s of one core for them.
QUICK_GRADIENTS = 100_000

#: Of these, what one sample needs under one threat.
_QUICK_SAMPLE = 1050

#: Seconds that a quick evaluation promises, attacks, baseline and checks together, and the least number of samples.
QUICK_SECONDS, _LEAST = 50.0, 4


def quick_samples(threats: int) -> int:
    """How many samples a quick evaluation takes at most.

    >>> quick_samples(threats=1)
    95
    """
    return max(8, QUICK_GRADIENTS // (_QUICK_SAMPLE * threats))


def quick_size(threats: int, given: int, seconds: Callable[[int], float]) -> tuple[int, float]:
    """How many samples fit into the time, and the share of the steps where not even the fewest do.

    ``seconds`` measures one gradient and one output of so many samples at once.

    >>> quick_size(1, 1000, lambda n: 1e-4 * n), quick_size(1, 1000, lambda n: 0.004 * n)
    ((95, 1.0), (16, 1.0))
    >>> quick_size(1, 1000, lambda n: 0.1 * n)
    (4, 0.16...)
    """
    most = min(given, quick_samples(threats))
    affordable = QUICK_SECONDS / (_QUICK_SAMPLE * threats) * 1.4  # the passes are counted in gradients
    n = min(most, _LEAST)
    taken = seconds(n)
    if taken > affordable:
        return n, affordable / taken
    while n < most and seconds(min(most, 2 * n)) <= affordable:
        n = min(most, 2 * n)
    return n, 1.0
