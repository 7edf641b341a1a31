"""Where batches come from: tensors in memory, a data set, or the user's own loader; each process gets its share."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from holomorph._utils.devices import reads_pinned_memory, to_device
from holomorph._utils.seeding import generator
from holomorph.contract import as_long, check_batch, check_labels
from holomorph.contract.data import as_tensor
from holomorph.contract.labels import count_outputs
from holomorph.contract.model import plain
from holomorph.data import Splits, as_input
from holomorph.data.augmentation import Augment, EachSample
from holomorph.errors import DataError
from holomorph.training.loaders import LoaderBatches, with_labels
from holomorph.training.weights import ClassWeight, drawn, weights_of

#: What ``fit`` takes: tensors (x, y), splits (their training part), a data set, or a loader; for some rules x alone.
Training = Tensor | tuple[Tensor, Tensor] | Splits | Dataset[Any] | DataLoader[Any]


class Batches(Protocol):
    """Batches of one epoch after another, the same ones for the same seed."""

    @property
    def samples(self) -> int:
        """Count the samples."""
        ...

    def __len__(self) -> int:
        """Count the batches of one epoch."""
        ...

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, from the one with the index ``start`` on."""
        ...

    def first(self) -> tuple[Tensor, Tensor]:
        """Return some samples, to check them before the work begins."""
        ...

    def digest(self) -> str:
        """Return what tells these samples from others."""
        ...


@dataclass
class TensorBatches:
    """Shuffled slices of tensors in memory; process r of w takes every w-th sample of each batch.

    Images of uint8 stay so; a batch of them is augmented, if asked, and becomes floating point in the box. With weights
    an epoch draws samples as often as theirs asks.
    """

    x: Tensor
    y: Tensor
    batch_size: int
    seed: int
    fabric: Fabric
    box: tuple[float, float] = (0.0, 1.0)
    augment: Augment | None = None
    weights: Tensor | None = None

    @property
    def samples(self) -> int:
        """Count the samples."""
        return len(self.x)

    def __len__(self) -> int:
        return len(self._parts(torch.arange(len(self.x))))

    def _parts(self, order: Tensor) -> list[Tensor]:
        """The batches of an epoch; samples too few for every process to have two are joined to the batch before.

        A single sample has no variance, which a BatchNorm layer needs.
        """
        *parts, last = torch.split(order, self.batch_size)
        if parts and len(last) < 2 * self.fabric.world_size:
            *parts, last = *parts[:-1], torch.cat([parts[-1], last])
        return [*parts, last]

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch from the one with the index ``start`` on, on the fabric's device."""
        rank, world = self.fabric.global_rank, self.fabric.world_size
        shuffled = generator(self.seed, f"shuffle/{number}")
        if self.weights is None:
            order = torch.randperm(len(self.x), generator=shuffled)
        else:
            order = drawn(self.weights, shuffled)
        for place, indices in enumerate(self._parts(to_device(order, self.x.device))):
            share = indices[rank : len(indices) - len(indices) % world : world]
            if place >= start and len(share):
                x, y = self.x[share], self.y[share]
                if self.augment is not None:
                    x = self.augment(x, generator(self.seed, f"augment/{number}/{place}/{rank}"))
                yield as_input(to_device(x, self.fabric.device), self.box), to_device(y, self.fabric.device)

    def first(self) -> tuple[Tensor, Tensor]:
        """Return all samples: they lie in memory. Of uint8 a few: they cannot be out of range."""
        if self.x.dtype != torch.uint8:
            return self.x, self.y
        return as_input(self.x[:256], self.box), self.y[:256]

    def digest(self) -> str:
        """Return the SHA-256 of samples and labels."""
        found = hashlib.sha256(str(tuple(self.x.shape)).encode())
        for part in (self.x, self.y, *([] if self.weights is None else [self.weights])):
            found.update(part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return found.hexdigest()


def make_batches(
    train: Training,
    batch_size: int,
    seed: int,
    fabric: Fabric,
    *,
    augment: bool | Callable[[Tensor], Tensor] = True,
    labelled: bool = True,
    steps: int | None = None,
    sample_weight: Any = None,
    class_weight: ClassWeight | None = None,
) -> Batches:
    """Bring whatever the user has into one form, checked; ``steps`` make an epoch of a stream without a length.

    Samples alone will do where they need not be ``labelled``; their labels are 0.

    Raises
    ------
    DataError
        For empty or mismatched data, labels out of range, or one class only.
    """
    batches: Batches
    own = EachSample(augment) if callable(augment) else None
    if not labelled and not isinstance(train, Splits | Dataset | DataLoader):
        train = with_labels(train)
    if isinstance(train, Splits):
        if len(train.x_train) == 0:
            raise DataError(f"The data set {train.name} has no train samples.")
        chosen = own or (train.augment if augment else None)
        batches = TensorBatches(train.x_train, train.y_train, batch_size, seed, fabric, train.box, chosen)
    elif isinstance(train, DataLoader):
        batches = LoaderBatches(train, seed, fabric, steps, labelled=labelled)
    elif isinstance(train, tuple | list):
        if len(train) != 2:
            raise DataError(f"Give the training data as (samples, labels), not {len(train)} things.")
        x, y = as_tensor(train[0], "samples"), as_tensor(train[1], "labels")
        batches = TensorBatches(plain(x), plain(y), batch_size, seed, fabric, augment=own)
    elif isinstance(train, Dataset):
        batches = LoaderBatches(_loader(train, batch_size, fabric), seed, fabric, steps, labelled=labelled)
    else:
        raise DataError(
            f"Cannot train on {type(train).__name__}. Give tensors or arrays (x, y), a Dataset or a DataLoader."
        )
    check_batch(*batches.first())
    if isinstance(batches, TensorBatches):
        if labelled:
            check_labels(batches.y, soft=True)
        batches.y = as_long(batches.y)
        batches.weights = weights_of(batches.y, sample_weight, class_weight)
    elif sample_weight is not None or class_weight is not None:
        raise DataError("Weights need the samples in memory. Give a loader torch's WeightedRandomSampler instead.")
    return batches


def training_classes(train: Training, batches: Batches) -> int:
    """How many outputs the training labels ask for: all labels that are known, not those of the first samples."""
    if isinstance(train, Splits):
        return train.classes
    labels = batches.y if isinstance(batches, TensorBatches) else batches.first()[1]
    return count_outputs(labels, whole=batches.samples == len(labels))


def _loader(data: Dataset[Any], batch_size: int, fabric: Fabric) -> DataLoader[Any]:
    pinned = reads_pinned_memory(fabric.device)
    return DataLoader(data, batch_size, shuffle=not isinstance(data, IterableDataset), pin_memory=pinned)
