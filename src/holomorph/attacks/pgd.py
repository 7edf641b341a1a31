"""Projected gradient ascent with momentum and step halving: the attack where no package serves, and the probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from holomorph.attacks.base import Access, Ours
from holomorph.calculus.norms import dual_direction, per_sample, random_in_ball
from holomorph.contract.classifier import Classifier, margin
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into, movable, resized, walls

Loss = Literal["margin", "scaled", "cross-entropy"]


@dataclass(frozen=True)
class Ascent:
    """What an ascent saw.

    ``best`` is the point of the largest loss, ``wrong`` the last point that was misclassified (x where none
    was), ``found`` whether there was one, ``final`` the last iterate, ``losses`` the best loss so far at every
    step, shape (steps + 1, batch).
    """

    best: Tensor
    wrong: Tensor
    found: Tensor
    final: Tensor
    losses: Tensor

    @staticmethod
    def joined(parts: list[Ascent]) -> Ascent:
        """The ascents of the parts of a batch as one."""
        best, wrong, found, final = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("best", "wrong", "found", "final")
        )
        return Ascent(best, wrong, found, final, torch.cat([part.losses for part in parts], 1))


def losses(classifier: Classifier, kind: Loss) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    r"""The map (x, y) to (loss, margin), one number a sample each.

    The loss is to be climbed: ``margin`` is the margin's negative, ``scaled`` divides that by the spread of the
    logits, whose scale then cannot saturate anything; ``cross-entropy`` is the usual loss.
    """

    def both(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = classifier(x)
        m = margin(logits, y)
        if kind == "margin":
            return -m, m
        if kind == "scaled":
            return -m / (logits.std(1).detach() + torch.finfo(logits.dtype).tiny), m
        return torch.nn.functional.cross_entropy(logits, y, reduction="none"), m

    return both


def ascend(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int = 100,
    loss: Loss = "margin",
    start: Tensor | None = None,
) -> Ascent:
    r"""Maximise the loss over the threat around x: momentum steps, halved for samples that stop improving.

    $$x_{k+1} = P\bigl(x_k + \eta s_k + \tfrac14 (x_k - x_{k-1})\bigr), \qquad \eta_0 = 2\varepsilon$$

    with s the dual direction of the gradient, in l_1 its largest coordinates that the box leaves free. After a
    fifth of the steps without a new best, a sample's step is halved and it goes on from its best point.

    Source: docs/evaluation.md; after Croce and Hein, ICML 2020 (APGD), simplified.
    """
    score = losses(classifier, loss)
    point = x.clone() if start is None else into(x, start, threat)
    previous, best, wrong = point, point, x.clone()
    found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    top = torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device)
    size = torch.full_like(top, 2 * threat.radius)
    stale = torch.zeros_like(top)
    history = []
    for _ in range(steps + 1):
        value, m, gradient = _gradient(score, point, y)
        gradient = movable(gradient, threat)
        hit = m < 0
        wrong, found = torch.where(per_sample(hit, x), point, wrong), found | hit
        better = value > top
        best, top = torch.where(per_sample(better, x), point, best), torch.where(better, value, top)
        history.append(top)
        stale = torch.where(better, torch.zeros_like(stale), stale + 1)
        tired = stale >= max(1, steps // 10)
        size, stale = torch.where(tired, size / 2, size), torch.where(tired, torch.zeros_like(stale), stale)
        momentum = torch.where(per_sample(tired, x), torch.zeros_like(x), 0.25 * (point - previous))
        base = torch.where(per_sample(tired, x), best, point)
        previous = base
        step = per_sample(size, x) * _direction(gradient, base, threat) + momentum
        point = into(x, base + step, threat)
    return Ascent(best, wrong, found, previous, torch.stack(history))


def _gradient(
    score: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], point: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    with torch.enable_grad():
        point = point.detach().requires_grad_()
        value, m = score(point, y)
        gradient = torch.autograd.grad(value.sum(), point, allow_unused=True)[0] if value.requires_grad else None
    gradient = torch.zeros_like(point) if gradient is None else gradient.nan_to_num()
    return value.detach().to(point.dtype), m.detach(), gradient


def _direction(gradient: Tensor, point: Tensor, threat: ThreatModel) -> Tensor:
    """The steepest direction; in l_1 spread over the twentieth of the coordinates that gain most and can move."""
    if threat.norm != "1":
        return dual_direction(gradient, threat.p)
    low, high = walls(threat, point)
    stuck = ((gradient > 0) & (point >= high)) | ((gradient < 0) & (point <= low))
    free = gradient.masked_fill(stuck, 0).flatten(1)
    count = max(1, free.shape[1] // 20)
    index = free.abs().topk(count, dim=1).indices
    sparse = torch.zeros_like(free).scatter(1, index, free.gather(1, index).sign())
    return (sparse / count).reshape(gradient.shape)


@dataclass(frozen=True)
class Pgd(Ours):
    """The ascent as an attack: ``restarts`` starts, the first at the sample, the others uniform in the threat.

    With ``far`` the first half of every run may go three times as far as the threat allows, so that a plateau
    around the sample is left behind before the threat is enforced.
    """

    threat: ThreatModel
    loss: Loss = "margin"
    steps: int = 100
    restarts: int = 1
    far: bool = False
    everyone: bool = False
    label: str = ""

    @property
    def name(self) -> str:
        """For instance pgd-margin."""
        return self.label or f"pgd-{self.loss}{'-far' if self.far else ''}"

    @property
    def access(self) -> Access:
        """Reads gradients."""
        return "white box"

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"steps": self.steps, "restarts": self.restarts, "loss": self.loss, "far_start": self.far}

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Run every restart and keep a misclassified point where one was met, else the best."""
        generator = torch.Generator().manual_seed(seed)
        kept, done = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for restart in range(self.restarts):
            run = self._run(classifier, x, y, None if restart == 0 else generator)
            new = run.found & ~done
            kept = torch.where(per_sample(new, x), run.wrong, kept)
            kept = torch.where(per_sample(~done & ~new, x), run.best, kept)
            done |= new
        return kept

    def _run(self, classifier: Classifier, x: Tensor, y: Tensor, generator: torch.Generator | None) -> Ascent:
        threat, start, steps = self.threat, None, self.steps
        if generator is not None:
            start = x + random_in_ball(x, threat.p, threat.radius, generator)
        if self.far:
            far = resized(threat, 3 * threat.radius)
            start = ascend(classifier, x, y, far, steps=steps // 2, loss=self.loss, start=start).best
            steps -= steps // 2
        return ascend(classifier, x, y, threat, steps=steps, loss=self.loss, start=start)
