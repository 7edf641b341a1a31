"""Logs of a training run: TensorBoard, and a CSV file."""

from pathlib import Path
from typing import Any

from holomorph.records.training import Epoch


def loggers_of(folder: Path, history: list[Epoch]) -> list[Any]:
    """TensorBoard and CSV logs; the CSV file is written anew, with the epochs that a resumed run has behind it."""
    from lightning_fabric.loggers.csv_logs import CSVLogger
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    (folder / "logs" / "metrics.csv").unlink(missing_ok=True)
    table = CSVLogger(folder, name="logs", version="")
    for epoch in history:
        write(table, epoch)
    return [TensorBoardLogger(folder.parent, name=folder.name, version=""), table]


def write(logger: Any, epoch: Epoch) -> None:
    """Write what an epoch measured."""
    shown = {"loss": epoch.loss, "lr": epoch.lr, "seconds": epoch.seconds, **epoch.measured}
    for name in ("validation_accuracy", "robust_accuracy"):
        if (value := getattr(epoch, name)) is not None:
            shown[name] = value
    logger.log_metrics(shown, epoch.number)
    logger.save()
