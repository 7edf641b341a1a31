"""Ascent along numerical gradients, for models that hide theirs."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holomorph.attacks.base import Needs
from holomorph.attacks.pgd import AttackLoss, attack_ascent
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel

#: Points that the model is asked for at once.
_TOGETHER = 250


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
        coin = torch.randint(0, 2, (self.directions, features), generator=self.generator, device=x.device)
        return (coin * 2 - 1).to(x.dtype)


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
            for some in offsets.split(max(1, _TOGETHER // len(x))):  # one call for many steps is far quicker
                shift = (model.step * some).reshape(-1, 1, *x.shape[1:])
                up, down = (model.logits((x + way).flatten(0, 1), _TOGETHER) for way in (shift, -shift))
                slope = (v * (up - down).reshape(-1, *v.shape)).sum(2) / (2 * model.step)
                total += slope.T.to(x) @ some
        return (total / scale).reshape(x.shape), None


@dataclass(frozen=True)
class NumericalPgd:
    """Projected ascent along numerical gradients; reads outputs only, and so is as strong as a black box allows.

    ``limit`` samples at most are attacked (None: all), since a step costs two passes a coordinate.
    """

    threat: ThreatModel
    steps: int = 10
    directions: int = 64
    limit: int | None = 64
    loss: AttackLoss = "margin"

    name = "pgd-numerical"
    needs = Needs("margin", gradients=False, features=True)

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        few = {} if self.limit is None else {"limit": self.limit}
        return {"steps": self.steps, "directions": self.directions, "loss": self.loss} | few

    @property
    def difference(self) -> float:
        """The size of a difference in each coordinate: eps for l_inf, at most a tenth of the box otherwise."""
        low, high = self.threat.box
        return self.threat.radius if self.threat.norm == "inf" else min(self.threat.radius, 0.1 * (high - low))

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Run on the first ``limit`` samples of the batch."""
        few = len(x) if self.limit is None else min(self.limit, len(x))
        generator = torch.Generator(x.device).manual_seed(seed)
        numerical = NumericalGradient(classifier, self.difference, generator, self.directions)
        run = attack_ascent(numerical, x[:few], y[:few], self.threat, steps=self.steps, loss=self.loss)
        return torch.cat([run.proposal, x[few:]])
