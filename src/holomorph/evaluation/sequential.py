"""Stopping as soon as the question is answered, with intervals that hold whenever one stops."""

import math
from collections.abc import Iterator

import torch
from scipy.optimize import brentq
from scipy.special import betaln
from torch import Tensor

from holomorph.errors import ConfigError
from holomorph.records.base import Interval


def anytime_interval(successes: int, samples: int, level: float = 0.95) -> Interval:
    r"""An interval of a proportion that holds at all sample sizes at once, so that one may stop when one likes.

    $$\Bigl\{p : \frac{B(1 + k,\, 1 + n - k)}{p^k (1-p)^{n-k}} < \frac1\alpha\Bigr\}$$

    The fraction is the average, over a uniform q, of the likelihood ratio of q against p. Under p it is a
    non-negative martingale that starts at 1, so by Ville's inequality it ever reaches 1/α with probability at most α.
    The proportion is that of the population of which the samples are independent draws, in a random order.

    Source: Ville 1939; Robbins 1970; the mixture with a beta prior as in Howard et al. 2021.

    >>> interval = anytime_interval(60, 100)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.441, 0.746)
    """
    k, n = successes, samples

    def excess(p: float) -> float:
        """The logarithm of the martingale at p, less that of 1/α."""
        fit = k * math.log(p) if k else 0.0
        fit += (n - k) * math.log1p(-p) if n > k else 0.0
        return float(betaln(1 + k, 1 + n - k)) - fit + math.log(1 - level)

    tiny = 1e-12
    best = min(max(k / n, tiny), 1 - tiny) if n else 0.5
    low = brentq(excess, tiny, best, xtol=1e-15) if k and excess(tiny) > 0 > excess(best) else 0.0
    high = brentq(excess, best, 1 - tiny, xtol=1e-15) if k < n and excess(1 - tiny) > 0 > excess(best) else 1.0
    return Interval(value=k / n if n else 0.0, low=low, high=high, level=level)


class Stopping:
    """When an evaluation has answered what was asked.

    Parameters
    ----------
    decide:
        A share in (0, 1): stop once the interval lies above or below it.
    precision:
        Points in (0, 50): stop once the interval reaches at most so far to both sides of the estimate.
    """

    def __init__(self, decide: float | None = None, precision: float | None = None) -> None:
        if decide is not None and not 0 < decide < 1:
            raise ConfigError(f"decide is {decide}; it is a share between 0 and 1, such as 0.5.")
        if precision is not None and not 0 < precision < 50:
            raise ConfigError(f"precision is {precision}; it is in points, between 0 and 50, such as 2.")
        if decide is not None and precision is not None:
            raise ConfigError("An evaluation decides or reaches a precision, not both. Drop one of the two.")
        self.decide = decide
        self.precision = precision

    @property
    def asked(self) -> bool:
        """Whether there is anything to stop for."""
        return self.decide is not None or self.precision is not None

    def chunks(self, samples: int, size: int, seed: int) -> Iterator[Tensor]:
        """Rows in a random order, in chunks: an interval for a random order holds for the whole."""
        order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
        yield from torch.split(order, size)

    def answer(self, successes: int, samples: int, total: int) -> str:
        """What may be said already, in a sentence; empty where more samples are needed."""
        interval = anytime_interval(successes, samples)
        told = f"after {samples} of {total} samples, at a level that holds whenever one stops"
        if self.decide is not None:
            if interval.low > self.decide:
                return f"Robust accuracy is above {100 * self.decide:g} % as far as attacks tell, {told}."
            return f"Robust accuracy is below {100 * self.decide:g} %, {told}." if interval.high < self.decide else ""
        half = 100 * max(interval.high - interval.value, interval.value - interval.low)
        if self.precision is not None and half <= self.precision:
            return f"The interval reaches {half:.1f} points at most, {told}."
        return ""
