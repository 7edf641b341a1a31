"""Ascent towards the classes that are reached first, as the margins' slopes predict."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holomorph.attacks.base import Needs
from holomorph.attacks.pgd import Objective
from holomorph.calculus.ascent import Around, climb
from holomorph.calculus.norms import norm, per_sample
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import movable

#: Classes whose slopes are compared, those with the largest logits.
CANDIDATES = 10


class Towards(Objective):
    """The lead of one target over the label, divided by the spread of the logits."""

    def __init__(self, classifier: Classifier, x: Tensor, y: Tensor, target: Tensor) -> None:
        super().__init__(classifier, x, y, "scaled")
        self.target = target

    def _loss(self, logits: Tensor, m: Tensor) -> Tensor:
        lead = logits.gather(1, self.target[:, None])[:, 0] - logits.gather(1, self.y[:, None])[:, 0]
        return lead / (logits.std(1).detach() + torch.finfo(logits.dtype).tiny)


@dataclass(frozen=True)
class Targeted:
    r"""Aim at the ``targets`` classes of the smallest first-order distance, one after the other.

    $$\frac{h_y - h_j}{\|\nabla(h_y - h_j)\|_q}$$

    A class with a small logit but a steep slope is reached before a runner-up that hardly moves.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    targets:
        How many classes are aimed at.
    steps:
        Of each ascent.

    Source: docs/evaluation.md; Melamed et al. 2024 (MALT), who rank by the Euclidean norm of the slopes.
    """

    threat: ThreatModel
    targets: int = 3
    steps: int = 60

    name = "pgd-targeted"
    needs = Needs("margin", classes=3, features=True)

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"steps": self.steps, "targets": self.targets, "loss": "scaled, targeted"}

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Keep a misclassified point where one was met, else that of the last target."""
        order = self.ranked(classifier, x, y)
        kept, left = x.clone(), torch.arange(len(x), device=x.device)
        for k in range(min(self.targets, order.shape[1])):
            objective = Towards(classifier, x[left], y[left], order[left, k])
            around, patience = Around(x[left], self.threat), max(1, self.steps // 10)
            lengths = [2 * self.threat.radius] * self.steps
            found = climb(objective, x[left], around, lengths, momentum=0.25, patience=patience)
            kept[left] = torch.where(per_sample(objective.broken, found.best), objective.wrong, found.best)
            left = left[~objective.broken]
            if len(left) == 0:
                break
        return kept

    def ranked(self, classifier: Classifier, x: Tensor, y: Tensor) -> Tensor:
        """The candidates of each sample, nearest first by their slopes; shape (batch, candidates)."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            logits = classifier(leaf)
            others = logits.detach().scatter(1, y[:, None], -torch.inf)
            candidates = others.topk(min(CANDIDATES, logits.shape[1] - 1), dim=1).indices
            leads = logits.gather(1, y[:, None]) - logits.gather(1, candidates)
            leads = leads + 0 * leaf.flatten(1).sum(1, keepdim=True)
            slopes = [torch.autograd.grad(leads[:, k].sum(), leaf, retain_graph=True)[0] for k in range(leads.shape[1])]
        sizes = torch.stack([norm(movable(slope, self.threat), self.threat.q) for slope in slopes], 1)
        distance = leads.detach() / sizes.clamp_min(torch.finfo(x.dtype).tiny)
        return candidates.gather(1, distance.argsort(1))
