"""Looking at a part of a batch only, drawn where it matters, without bias."""

from __future__ import annotations

import torch
from torch import Tensor


def inclusion(score: Tensor, share: float) -> Tensor:
    r"""Probabilities $\pi_i \le 1$, proportional to the scores where they can be, with $\sum_i \pi_i = \rho n$.

    Parameters
    ----------
    score:
        (n,), not negative, not all zero.
    share:
        $\rho$ in (0, 1].

    >>> inclusion(torch.tensor([1.0, 1.0, 2.0, 8.0]), share=0.5)
    tensor([0.2500, 0.2500, 0.5000, 1.0000])
    """
    wanted = share * len(score)
    pi = torch.zeros_like(score)
    for _ in range(8):  # each round can bring further scores to 1; eight leave an error far below a sample
        free = pi < 1
        rest = wanted - (~free).sum()
        pi = torch.where(free, score * (rest / score[free].sum().clamp_min(1e-12)), 1.0).clamp(max=1.0)
    return pi


def systematic(pi: Tensor, generator: torch.Generator) -> Tensor:
    r"""Indices of a sample in which i has the probability $\pi_i$; its size is $\sum_i \pi_i$ rounded up or down.

    Weighted by $1/\pi_i$ the sample's sum has the sum over everything as its mean (Horvitz and Thompson 1952).

    Source: Madow 1949, systematic sampling.

    >>> systematic(torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.Generator())
    tensor([0, 2])
    """
    start = torch.rand((), generator=generator, device=generator.device, dtype=pi.dtype).to(pi.device)
    marks = (pi.cumsum(0) + start).floor()
    return (marks > torch.cat([start.floor()[None], marks[:-1]])).nonzero()[:, 0]
