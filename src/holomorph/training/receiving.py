"""What a training begins with: model and data as they are given, looked at before anything is written."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from holomorph.contract import check_batch, check_samples, gather
from holomorph.contract.model import accepted_batch, check_model
from holomorph.data import Splits
from holomorph.errors import ModelError
from holomorph.rules import Rule
from holomorph.threats.constraints import box_of
from holomorph.training.batches import Batches, Training, training_classes
from holomorph.training.last_batch import batch_size_of, check_last_batch, check_whole_batches
from holomorph.training.validation import Validation


@dataclass(frozen=True)
class TrainingData:
    """Batches, what is watched after each epoch, samples for the guard, and the one batch size that the model takes."""

    batches: Batches
    validation: Validation | None
    watched: tuple[Tensor, Tensor]
    only: int | None


def receive_training(
    model: nn.Module, train: Training, batches: Batches, rule: Rule, batch_size: int, validation: Any
) -> TrainingData:
    """Look at the first batch, the model's outputs on it and the validation samples; the model moves to their device.

    Raises
    ------
    DataError, ModelError
        For samples, labels, models and batch sizes that do not go together.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"fit trains a torch.nn.Module, not {type(model).__name__}. Give the module.")
    check_last_batch(train, batch_size, model)
    x, y = batches.first()
    check_batch(x, y, box=box_of(rule.defends_against))
    classes = training_classes(train, batches) if rule.supervised else 1
    size = batch_size_of(train, batch_size)
    check_model(model.to(x.device), x, classes, batch_size=size)
    only = check_whole_batches(train, batches.samples, accepted_batch(model, x, size))
    if isinstance(train, Splits) and validation is None and rule.supervised:
        validation = train.part("val")
    if isinstance(validation, tuple | list):
        validation = gather(validation)
        check_samples(*validation, classes=classes, soft=True)
    return TrainingData(batches, validation, validation if isinstance(validation, tuple) else (x, y), only)
