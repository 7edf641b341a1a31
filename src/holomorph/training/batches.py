"""Where batches come from: tensors in memory, a data set, or the user's own loader; each process gets its share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from holomorph._utils.seeding import generator, seed_for
from holomorph.contract import as_long, check_batch, check_labels
from holomorph.contract.data import as_tensor
from holomorph.contract.model import plain
from holomorph.data import Splits, as_input
from holomorph.data.augmentation import Augment
from holomorph.errors import DataError

#: What ``fit`` takes: tensors (x, y), splits (their training part), a data set, or a loader.
Training = tuple[Tensor, Tensor] | Splits | Dataset[Any] | DataLoader[Any]


class Batches(Protocol):
    """Batches of one epoch after another, the same ones for the same seed."""

    @property
    def samples(self) -> int:
        """Count the samples."""
        ...

    def __len__(self) -> int:
        """Count the batches of one epoch."""
        ...

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch."""
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

    Images of uint8 stay so; a batch of them is augmented, if asked, and becomes floating point in the box.
    """

    x: Tensor
    y: Tensor
    batch_size: int
    seed: int
    fabric: Fabric
    box: tuple[float, float] = (0.0, 1.0)
    augment: Augment | None = None

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

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, on the fabric's device."""
        rank, world = self.fabric.global_rank, self.fabric.world_size
        order = torch.randperm(len(self.x), generator=generator(self.seed, f"shuffle/{number}"))
        drawn = generator(self.seed, f"augment/{number}/{rank}")
        for indices in self._parts(order):
            share = indices[rank : len(indices) - len(indices) % world : world]
            if len(share):
                x = self.x[share] if self.augment is None else self.augment(self.x[share], drawn)
                yield as_input(self.fabric.to_device(x), self.box), self.fabric.to_device(self.y[share])

    def first(self) -> tuple[Tensor, Tensor]:
        """Return all samples: they lie in memory. Of uint8 a few: they cannot be out of range."""
        if self.x.dtype != torch.uint8:
            return self.x, self.y
        return as_input(self.x[:256], self.box), self.y[:256]

    def digest(self) -> str:
        """Return the SHA-256 of samples and labels."""
        found = hashlib.sha256(str(tuple(self.x.shape)).encode())
        for part in (self.x, self.y):
            found.update(part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return found.hexdigest()


class LoaderBatches:
    """The user's loader, distributed by Fabric."""

    def __init__(self, loader: DataLoader[Any], seed: int, fabric: Fabric) -> None:
        if not isinstance(loader.dataset, Sized):
            raise DataError("The loader's data set has no length, which the schedule needs. Give one with __len__.")
        self.samples = len(loader.dataset)
        own = (loader.generator, getattr(loader.sampler, "generator", None))
        self._generators = [one for one in own if isinstance(one, torch.Generator)]
        self.seed = seed
        with torch.random.fork_rng(devices=[]), self._seeded("first"):
            torch.manual_seed(seed_for(seed, "first"))
            self._first = next(iter(loader), None)
        self.loader: Any = fabric.setup_dataloaders(loader)

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the loader's batches; its own shuffling is seeded by the epoch, its generator restored afterwards."""
        self.loader._num_iter_calls = number - 1  # by its own count the engine sets the epoch of distributed samplers
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(self.seed, f"shuffle/{number}"))
            batches = iter(self.loader)  # draws the seed of its order here, and leaves the global stream alone
        with self._seeded(f"shuffle/{number}"):
            yield from batches

    @contextmanager
    def _seeded(self, purpose: str) -> Iterator[None]:
        states = [one.get_state() for one in self._generators]
        try:
            for one in self._generators:
                one.manual_seed(seed_for(self.seed, purpose))
            yield
        finally:
            for one, state in zip(self._generators, states, strict=True):
                one.set_state(state)

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first batch."""
        if self._first is None:
            raise DataError("The loader yields no batch. Give it at least one sample.")
        try:
            x, y = self._first
        except (TypeError, ValueError):
            raise DataError("The loader must yield pairs (samples, labels).") from None
        return x, as_long(y) if isinstance(y, Tensor) else y

    def digest(self) -> str:
        """Return the number of samples: a loader may draw others each time."""
        return f"{self.samples} samples"


def make_batches(train: Training, batch_size: int, seed: int, fabric: Fabric, *, augment: bool = True) -> Batches:
    """Bring whatever the user has into one form, checked.

    Raises
    ------
    DataError
        For empty or mismatched data, labels out of range, or one class only.
    """
    batches: Batches
    if isinstance(train, Splits):
        if len(train.x_train) == 0:
            raise DataError(f"The data set {train.name} has no train samples.")
        chosen = train.augment if augment else None
        batches = TensorBatches(train.x_train, train.y_train, batch_size, seed, fabric, train.box, chosen)
    elif isinstance(train, DataLoader):
        batches = LoaderBatches(train, seed, fabric)
    elif isinstance(train, tuple | list):
        if len(train) != 2:
            raise DataError(f"Give the training data as (samples, labels), not {len(train)} things.")
        x, y = as_tensor(train[0], "samples"), as_tensor(train[1], "labels")
        batches = TensorBatches(plain(x), plain(y), batch_size, seed, fabric)
    elif isinstance(train, Dataset):
        batches = LoaderBatches(DataLoader(train, batch_size, shuffle=True), seed, fabric)
    else:
        raise DataError(
            f"Cannot train on {type(train).__name__}. Give tensors or arrays (x, y), a Dataset or a DataLoader."
        )
    check_batch(*batches.first())
    if isinstance(batches, TensorBatches):
        check_labels(batches.y, soft=True)
        batches.y = as_long(batches.y)
    return batches
