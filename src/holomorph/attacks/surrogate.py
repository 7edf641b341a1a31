"""A small network that imitates the model's predictions, attacked in its place: for models whose gradients mislead."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from holomorph._utils.devices import to_device
from holomorph.attacks.base import Needs
from holomorph.attacks.pgd import Pgd
from holomorph.calculus.norms import random_in_ball
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into, movable, resized


@dataclass(frozen=True)
class Surrogate:
    """Imitate, attack the imitation, ask the model what it makes of the result, and imitate better.

    The network learns the model's predictions at the samples, at random points of the threat and, from the second
    round on, at the points where the imitation was fooled. Reads outputs only.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    rounds, epochs:
        How often the imitation is mended, and passes over its points each time.
    queries:
        Random points a sample in the first round.

    Source: docs/evaluation.md; Papernot et al. 2017 (substitute models).
    """

    threat: ThreatModel
    rounds: int = 4
    epochs: int = 40
    queries: int = 8

    name = "surrogate"
    needs = Needs("cross-entropy", gradients=False, features=True)

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"rounds": self.rounds, "epochs": self.epochs, "queries": self.queries, "loss": "cross-entropy"}

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Keep a misclassified point where one was met, else the last proposal."""
        generator = torch.Generator().manual_seed(seed)
        points = torch.cat([x, *(self._around(x, generator) for _ in range(self.queries))])
        answers = _soft(classifier.logits(points))
        kept, done = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            student = _student(x, answers.shape[1])
            for _ in range(self.rounds):
                _imitate(student, points, answers, self.epochs)
                found = Pgd(self.threat, "margin", steps=40)(Classifier(student.eval()), x, y, seed)
                replies = classifier.logits(found)
                wrong = replies.argmax(1) != y
                kept = torch.where((wrong & ~done | ~done).reshape(-1, *(1,) * (x.ndim - 1)), found, kept)
                done |= wrong
                points, answers = torch.cat([points, found]), torch.cat([answers, _soft(replies)])
                if bool(done.all()):
                    break
        return kept

    def _around(self, x: Tensor, generator: torch.Generator) -> Tensor:
        wide = resized(self.threat, 1.5 * self.threat.radius)
        return into(x, x + movable(random_in_ball(x, wide.p, wide.radius, generator), wide), wide)


def _soft(logits: Tensor) -> Tensor:
    """Probabilities of logits brought to a spread of 3: counts of votes and loud logits teach alike."""
    spread = logits.std(1, keepdim=True).clamp_min(torch.finfo(logits.dtype).tiny)
    return (3 * (logits - logits.mean(1, keepdim=True)) / spread).nan_to_num().softmax(1)


def _student(x: Tensor, classes: int) -> nn.Module:
    features = x[0].numel()
    width = min(256, max(64, features))
    layers = nn.Flatten(), nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
    return nn.Sequential(*layers, nn.Linear(width, classes)).to(x)


@torch.enable_grad()
def _imitate(student: nn.Module, points: Tensor, answers: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(student.parameters(), 3e-3)
    for _ in range(epochs):
        for rows in torch.split(to_device(torch.randperm(len(points)), points.device), 256):
            logits = student(points[rows])
            loss = kl_div(log_softmax(logits, 1), answers[rows], reduction="batchmean")
            loss = loss + 0.2 * cross_entropy(logits, answers[rows].argmax(1))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
