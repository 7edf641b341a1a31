"""Attacks on rows of a table: the model is asked at possible rows only."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holomorph.attacks.base import Needs
from holomorph.attacks.on_grid import Rounded
from holomorph.attacks.pgd import Pgd
from holomorph.calculus.norms import per_sample
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into, settle


@dataclass(frozen=True)
class OnRows:
    r"""An ascent whose every point is repaired before the model is asked, then a search among possible rows.

    The search changes up to three features of the best row at a time, ``queries`` ways a round, repairs the result
    and keeps it where the margin falls: gradients know nothing of whole numbers, categories and relations.

    Source: docs/evaluation.md; after Simonetto et al. 2024 (CAPGD, then the search MOEVA), simplified.
    """

    threat: ThreatModel
    steps: int = 40
    rounds: int = 40
    queries: int = 32

    name = "pgd-on-rows"
    needs = Needs("margin", features=True)

    def settings(self) -> dict[str, Any]:
        """The settings that matter to the strength."""
        return {"steps": self.steps, "rounds": self.rounds, "queries": self.queries, "loss": "scaled"}

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Propose possible rows."""
        draws, reach = torch.Generator().manual_seed(seed), 1.5 * self.threat.radius

        def row(z: Tensor) -> Tensor:
            base = x.repeat(len(z) // len(x), *[1] * (x.ndim - 1))
            return into(base, settle(base, z, self.threat, self.threat.radius), self.threat)

        best = row(Pgd(self.threat, "scaled", self.steps)(Rounded(classifier, row), x, y, seed))
        lowest, labels = classifier.margins(best, y), y.repeat(self.queries)
        for _ in range(self.rounds):
            size = (self.queries, *x.shape)
            drawn = x + reach * (2 * torch.rand(size, generator=draws, dtype=x.dtype).to(x) - 1)
            chosen = torch.rand(size, generator=draws).flatten(2)
            few = 1 + torch.arange(self.queries)[:, None, None] % min(3, chosen.shape[2])
            change = (chosen.argsort(2).argsort(2) < few).reshape(size).to(x.device)
            tried = row(torch.where(change, drawn, best).flatten(0, 1))
            margins, index = classifier.margins(tried, labels).reshape(self.queries, -1).min(0)
            found = tried.reshape(size)[index, torch.arange(len(x), device=x.device)]
            best = torch.where(per_sample(margins < lowest, x), found, best)
            lowest = torch.minimum(margins, lowest)
        return best
