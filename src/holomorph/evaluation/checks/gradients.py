"""Checks 8, 9, 10, 21: the gradient exists, is not zero, and says something about the neighbourhood."""

from typing import ClassVar

import torch
from torch import Tensor

from holomorph._utils.interval import percent
from holomorph.calculus.norms import norm
from holomorph.evaluation.checks.base import Evidence, Finding, NotApplicableError, graded
from holomorph.evaluation.inspection import entropies
from holomorph.threats.constraints import clip


def loss_gradient(e: Evidence, x: Tensor) -> Tensor:
    """The input gradient of the cross-entropy on the probe's labels."""
    e.need_gradients()
    _, gradient = e.classifier.slope(x, entropies, e.y)
    return torch.zeros_like(x) if gradient is None else gradient


class ZeroGradients:
    """Gradients are not exactly zero."""

    per_threat: ClassVar[bool] = False
    number: ClassVar[int] = 8
    name: ClassVar[str] = "zero gradients"
    guards: ClassVar[str] = "masked gradients and a saturated loss"
    source: ClassVar[str] = "Croce and Hein 2020; Pintor et al. 2022"

    def look(self, e: Evidence) -> Finding:
        """Take the share of samples whose gradient is zero in every coordinate at the start."""
        share = e.found.inspection.zero_gradients
        if share is None:
            raise NotApplicableError("the model gives no gradients")
        return Finding(graded(share, 0.0, 0.1), share, f"{percent(share)} of the gradients are exactly zero.")


class BrokenGraph:
    """The output depends differentiably on the input."""

    per_threat: ClassVar[bool] = False
    number: ClassVar[int] = 9
    name: ClassVar[str] = "broken graph"
    guards: ClassVar[str] = "a model cut off from gradients, on purpose or by detach()"
    source: ClassVar[str] = "Athalye et al. 2018"

    def look(self, e: Evidence) -> Finding:
        """Ask for one gradient; a model that is declared without gradients is not blamed for it."""
        if not getattr(e.classifier.model, "differentiable", True):
            raise NotApplicableError("the model is a black box by its nature")
        if e.found.inspection.differentiable:
            return Finding("pass", 0.0, "The output is differentiable with respect to the input.")
        return Finding("fail", 1.0, "No gradient reaches the input: the values are those of black-box attacks.")


class UnstableLoss:
    """A tiny perturbation changes the loss by little."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 10
    name: ClassVar[str] = "unstable loss"
    guards: ClassVar[str] = "shattered or noisy loss surfaces, along which no gradient leads anywhere"
    source: ClassVar[str] = "Pintor et al. 2022; Athalye et al. 2018"

    def look(self, e: Evidence) -> Finding:
        r"""Take $|l(x+u) - l(x)| / l(x)$ for u a thousandth of the threat; the 90th percentile over the probe."""
        base = self._loss(e, e.x)
        changes = [
            (self._loss(e, e.x + 1e-3 * e.noise(100 + k, e.x)) - base).abs() / base.clamp_min(1e-9) for k in range(5)
        ]
        value = float(torch.stack(changes).amax(0).quantile(0.9))
        return Finding(
            graded(value, 0.05, 0.5), value, f"Noise of a thousandth of eps changes the loss by {percent(value)}."
        )

    @staticmethod
    def _loss(e: Evidence, x: Tensor) -> Tensor:
        return entropies(e.classifier.logits(x).cpu().double(), e.y.cpu())


class GradientAlignment:
    """Gradients at the sample and at a random point of the ball point the same way."""

    per_threat: ClassVar[bool] = True
    number: ClassVar[int] = 21
    name: ClassVar[str] = "gradient alignment"
    guards: ClassVar[str] = "catastrophic overfitting of single-step training"
    source: ClassVar[str] = "Andriushchenko and Flammarion 2020"

    def look(self, e: Evidence) -> Finding:
        r"""Take the mean of $\cos(\nabla l(x), \nabla l(x+u))$ over the probe, u uniform in the ball."""
        here = loss_gradient(e, e.x)
        there = loss_gradient(e, clip(e.x, e.x + e.noise(self.number, e.x), e.threat))
        lengths = norm(here, 2.0) * norm(there, 2.0)
        if not (lengths > 0).any():
            raise NotApplicableError("all gradients are zero")
        usable = lengths > 0
        cosine = (here * there).flatten(1).sum(1)[usable] / lengths[usable]
        value = float(cosine.mean())
        return Finding(graded(-value, -0.2, -0.05), value, f"The mean cosine is {value:.2f}.")
