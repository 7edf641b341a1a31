"""When a run writes a checkpoint between two epochs' ends: by steps, by minutes, and when it is told to stop."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

import torch
from lightning_fabric import Fabric

from holomorph._utils.processes import is_loss_of_a_process
from holomorph.errors import HolomorphError, TrainingError

#: Steps between two moments at which several processes ask one another.
ROUND = 10


class Pause:
    """Says after each step whether to write a checkpoint, in all processes alike.

    SIGTERM, by which clusters announce an end, is kept until the step is over. While the run goes on the handler is
    ours; afterwards it is what it was.

    Parameters
    ----------
    fabric:
        Knows the other processes.
    steps, minutes:
        How often; None for never.
    listen:
        Whether to wait for SIGTERM; only the main thread of a process can.
    """

    def __init__(
        self, fabric: Fabric, *, steps: int | None = None, minutes: float | None = None, listen: bool = True
    ) -> None:
        self.fabric, self.steps, self.minutes = fabric, steps, minutes
        self.listen = listen and threading.current_thread() is threading.main_thread()
        self.told = False
        self._before: Any = None
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        if self.listen:
            self._before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        if self.listen:
            signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.told = True

    def due(self, step: int) -> bool:
        """Whether a checkpoint is to be written after this step; :attr:`told` is then the same in all processes."""
        together = self.fabric.world_size > 1
        if together and step % ROUND:
            return False
        late = self.minutes is not None and time.monotonic() - self._last >= 60 * self.minutes
        if together and (self.minutes is not None or self.listen):
            heard = torch.tensor([float(self.told), float(late)], device=self.fabric.device)
            told, others = self.fabric.all_reduce(heard, reduce_op="sum").tolist()  # type: ignore[union-attr]
            self.told, late = told > 0, others > 0
        every = self.steps is not None and step // self.steps > (step - (ROUND if together else 1)) // self.steps
        if late:
            self._last = time.monotonic()
        return self.told or late or every


@contextmanager
def naming_the_lost(fabric: Fabric) -> Iterator[None]:
    """Say in one sentence that another process was lost, where the transport speaks of a broken connection.

    Raises
    ------
    TrainingError
        In place of the transport's error.
    """
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or isinstance(error, HolomorphError) or not is_loss_of_a_process(error):
            raise
        raise TrainingError(
            f"Another process of the training was lost (this is number {fabric.global_rank} of {fabric.world_size}). "
            "Its last checkpoint is kept: start all processes again with resume=True (--resume)."
        ) from None
