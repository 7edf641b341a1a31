"""Running one attack over many samples: in batches, shared among processes, resumable, halving when memory ends."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from holomorph._utils import progress
from holomorph._utils.cache import Cache
from holomorph._utils.fingerprint import digest
from holomorph._utils.memory import halving
from holomorph.attacks.base import Attack
from holomorph.contract import at_least_one
from holomorph.contract.classifier import Classifier
from holomorph.contract.settings import check_seed
from holomorph.threats import ThreatModel

_log = logging.getLogger("holomorph")


class Processes(Protocol):
    """What the evaluation asks of ``lightning.fabric.Fabric``."""

    @property
    def world_size(self) -> int:
        """Number of processes."""
        ...

    @property
    def global_rank(self) -> int:
        """Number of the process that asks."""
        ...

    def all_reduce(self, data: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        """Combine tensors of all processes."""
        ...


class Watched(Classifier):
    """A classifier that keeps a few of the points that an attack asks for, with its logits, to be asked again later.

    Kept are two points of the first call, the second, the fourth, the eighth and so on.
    """

    def __init__(self, classifier: Classifier, kept: list[tuple[Tensor, Tensor]]) -> None:
        super().__init__(classifier, differentiable=classifier.differentiable)
        self.kept = kept
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logits = super().forward(x)
        self.calls += 1
        if self.calls & (self.calls - 1) == 0 and len(x):
            self.kept.append((x[-2:].detach().clone(), logits[-2:].detach().clone()))
        return logits


@dataclass(frozen=True)
class Runner:
    """How attacks are run: seed, batch size, where finished batches are kept, and among how many processes.

    ``queried`` are some of the points that the attacks asked for, with the logits that they got.
    """

    seed: int = 0
    batch_size: int = 250  # attacks draw batch by batch, so that records of a seed hold for this number
    cache: Cache | None = None
    fabric: Processes | None = None
    queried: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        at_least_one(batch_size=self.batch_size)
        check_seed(self.seed)

    @property
    def first(self) -> bool:
        """Whether this process writes what all of them found."""
        return self.fabric is None or self.fabric.global_rank == 0

    def highest(self, value: float) -> float:
        """The highest of the processes' values: what one of them sees all must know."""
        if self.fabric is None or self.fabric.world_size == 1:
            return value
        return float(self.fabric.all_reduce(torch.tensor(value, dtype=torch.float64), reduce_op="max"))

    def propose(self, attack: Attack, threat: ThreatModel, classifier: Classifier, x: Tensor, y: Tensor) -> Tensor:
        """Return one proposal a sample.

        Batches, not samples, are dealt out to the processes, and every batch starts from the same seed: so any
        number of processes finds the same numbers.
        """
        out = torch.zeros_like(x)
        size, rank = (self.fabric.world_size, self.fabric.global_rank) if self.fabric else (1, 0)
        starts = range(0, len(x), self.batch_size)
        with progress.bar(f"{attack.name} at {threat}", len(starts)) as bar:
            for number, start in enumerate(starts):
                if number % size == rank:
                    part = slice(start, start + self.batch_size)
                    out[part] = self._batch(attack, threat, classifier, x[part], y[part])
                bar.advance()
        return self.fabric.all_reduce(out, reduce_op="sum") if self.fabric and size > 1 else out

    def _batch(self, attack: Attack, threat: ThreatModel, classifier: Classifier, x: Tensor, y: Tensor) -> Tensor:
        key = ""
        if self.cache is not None:
            what = {"attack": attack.name, "package": attack.needs.version, "threat": threat.model_dump(mode="json")}
            key = json.dumps(what | {"settings": attack.settings(), "seed": self.seed}) + digest(x, y)
            if (kept := self.cache.get(key)) is not None and kept["found"].shape == x.shape:
                return torch.from_numpy(kept["found"]).to(x)
        watched = Watched(classifier, self.queried)
        try:
            found = halving(lambda a, b: attack(watched, a, b, self.seed), x, y)
        except AssertionError as error:  # a package's own check of itself: it is left out, and said so
            _log.warning(
                "The attack %s (%s) gave up: %s.", attack.name, attack.needs.version, error or "it says not why"
            )
            return x.clone()
        if self.cache is not None:
            self.cache.put(key, found=found.detach().cpu().numpy())
        return found
