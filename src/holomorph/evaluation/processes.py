"""One evaluation shared among several processes of one machine, and what is said when one of them is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from holomorph._utils.processes import is_loss_of_a_process
from holomorph.errors import HolomorphError, WorkerError, unknown_name

if TYPE_CHECKING:
    from lightning_fabric import Fabric

#: The devices that processes of an evaluation can share.
ACCELERATORS = ("cpu", "cuda")


def share(
    work: Callable[..., None],
    *arguments: Any,
    devices: int,
    accelerator: str = "cpu",
    start: Literal["spawn", "fork"] = "spawn",
) -> None:
    """Run ``work(fabric, *arguments)`` in as many processes, none of which may return anything.

    The processes start afresh (spawn), so that work and arguments must be picklable; each loads the model itself.
    Forking is quicker, but safe only where the process has not computed anything yet. An error that the user can
    mend is raised here as it was raised there.

    Raises
    ------
    ConfigError
        For an accelerator of another name.
    WorkerError
        When a process was killed or lost.
    """
    if accelerator not in ACCELERATORS:
        raise unknown_name("accelerator", accelerator, ACCELERATORS)
    from lightning_fabric import Fabric  # imports the compiler of torch, which takes seconds
    from lightning_fabric.strategies.ddp import DDPStrategy

    strategy = DDPStrategy(start_method=start, timeout=timedelta(days=30))  # a batch may take its time
    fabric = Fabric(accelerator=accelerator, devices=devices, strategy=strategy)
    try:
        complaint = fabric.launch(partial(_guarded, work=work, arguments=arguments))
    except ProcessExitedException as error:
        raise _lost(error.signal_name or f"exit status {error.exit_code}") from None
    except ProcessRaisedException as error:
        if not is_loss_of_a_process(error):
            raise
        raise _lost("its connection broke") from None
    if complaint:
        raise HolomorphError(complaint)


def _guarded(fabric: Fabric, *, work: Callable[..., None], arguments: tuple[Any, ...]) -> str:
    """Do the work; hand back in words what the user can mend."""
    if fabric.global_rank > 0:
        logging.getLogger("holomorph").setLevel(logging.ERROR)  # the first process says it for all
    try:
        work(fabric, *arguments)
    except HolomorphError as error:
        return str(error)
    return ""


def _lost(how: str) -> WorkerError:
    return WorkerError(
        f"A process of the evaluation was lost ({how}; memory that ran out is the usual cause). No record was "
        f"written; finished batches are kept: the same command with --resume goes on from there."
    )
