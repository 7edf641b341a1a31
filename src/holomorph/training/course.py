"""What an epoch has seen so far: sums that stay on the device until somebody reads them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from holomorph.errors import TrainingError

#: Steps between two looks at whether the losses on a device were finite.
LOOK = 50


@dataclass
class Course:
    """Sums of the loss and of what the rule measured; the first loss that was not finite, and its step.

    >>> course = Course()
    >>> course.add({"loss": torch.tensor(1.0)})
    >>> course.add({"loss": torch.tensor(2.0)})
    >>> float(course.sums["loss"]) / course.counts["loss"]
    1.5
    """

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._bad: Tensor | None = None  # the first loss that was not finite, and its step, or (0, infinity)
        self._rate = 0.0

    def add(self, seen: dict[str, Tensor]) -> None:
        """Add what a step saw."""
        for key, value in seen.items():
            value = value.detach().float()
            self.sums[key] = self.sums[key] + value if key in self.sums else value
            self.counts[key] = self.counts.get(key, 0) + 1

    def see(
        self, loss: Tensor, measured: dict[str, Tensor], step: int, scheduler: Any, last_good: Callable[[], str]
    ) -> None:
        """Note a step. On the CPU a loss that is not finite stops the run at once, on a device at the next look."""
        self.add({"loss": loss, **measured})
        loss = loss.detach().float()
        if self._bad is None:
            self._bad = torch.stack([torch.zeros_like(loss), torch.full_like(loss, torch.inf)])
        here = torch.stack([loss, torch.full_like(loss, step)])
        self._bad = torch.where(loss.isfinite() | self._bad[1].isfinite(), self._bad, here)
        self._rate = float(scheduler.get_last_lr()[0])
        if loss.device.type == "cpu" or step % LOOK == LOOK - 1:
            self.check(last_good)

    def check(self, last_good: Callable[[], str]) -> None:
        """Read whether all losses were finite.

        Raises
        ------
        TrainingError
            Naming the first step whose loss was not.
        """
        value, step = (0.0, torch.inf) if self._bad is None else self._bad.tolist()
        if step < torch.inf:
            raise TrainingError(
                f"The loss became {value} at step {int(step)} (learning rate {self._rate:.3g}). "
                f"Lower the learning rate or the rule's weight.{last_good()}"
            )

    def means(self, fabric: Fabric) -> tuple[float, dict[str, float]]:
        """The mean loss of all processes and the means of what their rules measured."""
        means = torch.stack([value.to(fabric.device) for value in self.sums.values()])
        means = means / torch.tensor(list(self.counts.values()), device=fabric.device)
        if fabric.world_size > 1:
            means = fabric.all_reduce(means, reduce_op="mean")  # type: ignore[assignment]
        found = dict(zip(self.sums, means.tolist(), strict=True))
        return found.pop("loss"), found

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint within an epoch keeps."""
        return asdict(self)
