r"""Randomised smoothing: the one certificate for any classifier, in l_2, by the heat flow.

For f with values in [0, 1], $u = f * \mathcal{N}(0, \sigma^2)$ is the heat flow of f at time $\sigma^2/2$: the trace on
$\mathbb{R}^n$ of an entire function, whatever f was. Its gradient along a unit vector is
$\sigma^{-1} \mathbb{E}[f(x + \sigma\xi)\, \xi_1]$, which for a given mean u(x) is largest where f is the indicator of a
half space, so that $\|\nabla u\|_2 \le \sigma^{-1} \phi(\Phi^{-1}(u))$ with the normal density $\phi$ and distribution
$\Phi$. Hence $\|\nabla\,\Phi^{-1}(u)\|_2 \le 1/\sigma$, and a class whose probability under noise is at least p > 1/2
stays above 1/2 for every change of l_2 size below

$$r = \sigma\,\Phi^{-1}(p).$$

Source: Cohen, Rosenfeld and Kolter 2019; the reading as a heat flow is in docs/certificates.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import beta, norm
from torch import Tensor

from holomorph._utils.cache import Cache
from holomorph.contract import Differentiable, at_least_one
from holomorph.contract.classifier import Classifier
from holomorph.errors import ConfigError


@dataclass(frozen=True)
class Smoothed:
    r"""The classifier that answers with the class its base answers most often under Gaussian noise, or not at all.

    Parameters
    ----------
    model:
        Any classifier, inputs to logits; it is asked for answers only.
    sigma:
        Standard deviation of the noise, in input units.
    draws:
        Noisy copies of each sample for the estimate; a hundred others choose the class.
    failure:
        The probability, for each sample, that a radius is stated which does not hold: the lower bound of the class's
        probability is Clopper and Pearson's at that level.
    batch_size:
        Noisy copies at once.
    seed:
        Of the noise. Sample i has a generator of its own, so that answers do not hang on what else is certified.

    Raises
    ------
    ConfigError
        For a sigma that is not positive, a failure outside (0, 1), or counts below 1.

    Examples
    --------
    >>> halves = lambda x: torch.stack([x[:, 0], -x[:, 0]], 1)
    >>> smoothed = Smoothed(halves, sigma=0.5, draws=2000)
    >>> answer, radius = smoothed.certify(torch.tensor([[0.4]]))
    >>> int(answer), bool(0.3 < radius < 0.4)
    (0, True)
    """

    model: Differentiable
    sigma: float
    draws: int = 10_000
    failure: float = 0.001
    batch_size: int = 1000
    seed: int = 0

    #: Noisy copies that choose the class.
    selection = 100

    def __post_init__(self) -> None:
        if not (self.sigma > 0 and math.isfinite(self.sigma)):
            raise ConfigError(f"sigma is {self.sigma}; give a positive standard deviation in input units.")
        if not 0 < self.failure < 1:
            raise ConfigError(f"failure is {self.failure}; give a probability between 0 and 1, for instance 0.001.")
        at_least_one(draws=self.draws, batch_size=self.batch_size)

    def certify(
        self, x: Tensor, cache: Cache | None = None, done: Callable[[], None] = lambda: None
    ) -> tuple[Tensor, Tensor]:
        """The answer to each sample and the l_2 radius up to which it stands, on the host; -1 and 0: it abstains.

        Parameters
        ----------
        x:
            Samples, (batch, ...).
        cache:
            Where the counts of finished samples are kept, for a measurement that may be stopped.
        done:
            Called after each sample.
        """
        cache = cache or Cache()
        answers, radii = torch.full((len(x),), -1), torch.zeros(len(x), dtype=torch.float64)
        for i, sample in enumerate(x):
            kept = cache.get(f"sample-{i}")
            if kept is None:
                best, hits = self._count(sample, i)
                cache.put(f"sample-{i}", best=np.array(best), hits=np.array(hits))
            else:
                best, hits = int(kept["best"]), int(kept["hits"])
            radius = self.radius(hits)
            if radius > 0:
                answers[i], radii[i] = best, radius
            done()
        return answers, radii

    def radius(self, hits: int) -> float:
        r"""$\sigma\,\Phi^{-1}(p)$ for the lower confidence bound p of a class seen ``hits`` times; 0 up to a half."""
        low = float(beta.ppf(self.failure, hits, self.draws - hits + 1)) if hits else 0.0
        return self.sigma * float(norm.ppf(low)) * (1 - 1e-9) if low > 0.5 else 0.0

    @torch.no_grad()
    def _count(self, sample: Tensor, i: int) -> tuple[int, int]:
        """The class that a few noisy copies favour, and how often ``draws`` others are given it."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + i)
        first = self._answers(sample, self.selection, generator)
        best = int(first.bincount().argmax())
        hits, left = 0, self.draws
        while left:
            size = min(left, self.batch_size)
            hits += int((self._answers(sample, size, generator) == best).sum())
            left -= size
        return best, hits

    def _answers(self, sample: Tensor, count: int, generator: torch.Generator) -> Tensor:
        noise = torch.randn((count, *sample.shape), generator=generator, dtype=sample.dtype).to(sample.device)
        return Classifier(self.model).predictions(sample + self.sigma * noise, self.batch_size).cpu().clamp_min(0)
