"""Attacks of ours for models that hide their gradients: numerical gradients, and examples of another model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holomorph.attacks.base import Access, Ours
from holomorph.attacks.pgd import Loss, Pgd, ascend
from holomorph.calculus.norms import per_sample
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import resized


class NumericalGradient(Classifier):
    r"""The classifier with its gradient replaced by central differences of finite size.

    $$J^\top v \approx \frac{1}{2h}\sum_i \langle v, f(x + h e_i) - f(x - h e_i)\rangle\, e_i$$

    over all coordinates where they are at most ``directions``, otherwise over that many random sign vectors. A
    step as large as the threat sees over plateaus and quantised steps, where the derivative is zero or undefined.

    Source: docs/evaluation.md; Spall 1992 (simultaneous perturbation), Athalye et al. 2018.
    """

    def __init__(self, classifier: Classifier, step: float, generator: torch.Generator, directions: int = 64) -> None:
        super().__init__(classifier.model, differentiable=True, draws=classifier.draws)
        self.step = step
        self.directions = directions
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; their derivative is the numerical one."""
        return _Numerical.apply(x, self)  # type: ignore[no-untyped-call]

    def plain(self, x: Tensor) -> Tensor:
        """The classifier's own logits."""
        return super().forward(x)

    def offsets(self, x: Tensor) -> Tensor:
        """The steps to take, shape (steps, features), entries -1, 0, 1."""
        features = x[0].numel()
        if features <= self.directions:
            return torch.eye(features, dtype=x.dtype, device=x.device)
        coin = torch.randint(0, 2, (self.directions, features), generator=self.generator)
        return (coin * 2 - 1).to(x)


class _Numerical(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, model: NumericalGradient) -> Tensor:
        ctx.model = model
        ctx.save_for_backward(x)
        with torch.no_grad():
            return model.plain(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,), model, (v,) = ctx.saved_tensors, ctx.model, grads
        offsets = model.offsets(x)
        total = torch.zeros_like(x).flatten(1)
        scale = len(offsets) if len(offsets) != x[0].numel() else 1
        with torch.no_grad():
            for e in offsets:
                shift = (model.step * e).reshape(x.shape[1:])
                difference = model.plain(x + shift) - model.plain(x - shift)
                total += ((v * difference).sum(1) / (2 * model.step * scale))[:, None] * e
        return total.reshape(x.shape), None


@dataclass(frozen=True)
class NumericalPgd(Ours):
    """Projected ascent along numerical gradients; reads outputs only, and so is as strong as a black box allows.

    ``limit`` samples at most are attacked (None: all), since a step costs two passes a coordinate.
    """

    threat: ThreatModel
    steps: int = 10
    directions: int = 64
    limit: int | None = 64
    loss: Loss = "margin"

    name = "pgd-numerical"
    everyone = False

    @property
    def access(self) -> Access:
        """Reads outputs only; where it beats the attacks with gradients, the gradients are masked."""
        return "black box"

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"steps": self.steps, "directions": self.directions, "limit": self.limit, "loss": self.loss}

    @property
    def difference(self) -> float:
        """The size of a difference in each coordinate: eps for l_inf, at most a tenth of the box otherwise."""
        low, high = self.threat.box
        return self.threat.radius if self.threat.norm == "inf" else min(self.threat.radius, 0.1 * (high - low))

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Run on the first ``limit`` samples of the batch."""
        few = len(x) if self.limit is None else min(self.limit, len(x))
        generator = torch.Generator().manual_seed(seed)
        numerical = NumericalGradient(classifier, self.difference, generator, self.directions)
        run = ascend(numerical, x[:few], y[:few], self.threat, steps=self.steps, loss=self.loss)
        found = torch.where(per_sample(run.found, x), run.wrong, run.best)
        return torch.cat([found, x[few:]])


@dataclass(frozen=True)
class Transferred(Ours):
    """Adversarial inputs of another model of the same task, tried on this one: a black-box attack."""

    threat: ThreatModel
    source: Classifier
    steps: int = 40

    name = "transferred"
    everyone = True

    @property
    def access(self) -> Access:
        """Reads nothing of the attacked model."""
        return "black box"

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"steps": self.steps, "source": "the undefended baseline", "loss": "cross-entropy"}

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Attack the source and propose what was found."""
        return Pgd(self.threat, "cross-entropy", steps=self.steps)(self.source, x, y, seed)


@dataclass(frozen=True)
class Bisected(Ours):
    r"""The nearest adversarial input on a segment: ascent within twice the radius, then bisection back to x.

    FMN and DDN now and then halt exactly on a flat boundary and find nothing; the accuracy-eps curve up to twice
    eps must not depend on that.
    """

    threat: ThreatModel
    steps: int = 40
    halvings: int = 10

    name = "pgd-bisected"
    everyone = True

    @property
    def access(self) -> Access:
        """Reads gradients."""
        return "white box"

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"steps": self.steps, "halvings": self.halvings, "loss": "scaled"}

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Go far, then halve the way back while the prediction stays wrong."""
        wide = resized(self.threat, 2 * self.threat.radius)
        run = ascend(classifier, x, y, wide, steps=self.steps, loss="scaled")
        inner, outer = torch.zeros_like(x.flatten(1)[:, 0]), torch.ones_like(x.flatten(1)[:, 0])
        for _ in range(self.halvings):
            middle = (inner + outer) / 2
            wrong = classifier.predictions(x + per_sample(middle, x) * (run.wrong - x)) != y
            inner, outer = torch.where(wrong, inner, middle), torch.where(wrong, middle, outer)
        return x + per_sample(outer, x) * (run.wrong - x)
