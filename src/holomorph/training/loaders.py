"""The user's loader, in one process or shared among several: a batch is always that of all processes together."""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from holomorph._utils.devices import to_device
from holomorph._utils.seeding import seed_for
from holomorph.contract import as_long
from holomorph.contract.data import as_tensor
from holomorph.errors import DataError


class LoaderBatches:
    """Batches of a loader, epoch after epoch; process r of w takes every w-th sample of each batch.

    A loader of indices reads only this process's share. A stream (``IterableDataset``) is read by every process, and
    each takes its share. A loader that was sharded before, by a ``DistributedSampler``, is left alone: its batch size
    is that of one process.

    Parameters
    ----------
    loader:
        Yields pairs (samples, labels).
    seed:
        Orders the samples, whatever generator the loader has.
    fabric:
        Knows the processes and the device.
    steps:
        Batches that count as an epoch, for a stream that does not know its length. The stream goes on from one epoch
        to the next, and begins anew where it ends.
    labelled:
        Whether there must be labels; otherwise they are 0.
    """

    def __init__(
        self, loader: DataLoader[Any], seed: int, fabric: Fabric, steps: int | None = None, *, labelled: bool = True
    ) -> None:
        if steps is None and not isinstance(loader.dataset, Sized):
            raise DataError(
                "The loader's data set has no length, which the schedule needs. Give steps_per_epoch, or a data set "
                "with __len__."
            )
        self.seed, self.fabric, self.steps, self.labelled = seed, fabric, steps, labelled
        self.samples = len(loader.dataset) if isinstance(loader.dataset, Sized) else (steps or 0) * _size(loader)
        own = (loader.generator, getattr(loader.sampler, "generator", None))
        self._generators = [one for one in own if isinstance(one, torch.Generator)]
        with torch.random.fork_rng(devices=[]), self._seeded("first"):
            torch.manual_seed(seed_for(seed, "first"))
            self._first = next(iter(loader), None)
        self.loader, self._whole = _shared(loader, fabric)

    def __len__(self) -> int:
        return self.steps or len(self.loader)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch from the one with the index ``start`` on, on the fabric's device."""
        if self.steps is None:
            batches = self._pass(number)
        else:
            start += (number - 1) * self.steps
            batches = itertools.chain.from_iterable(self._pass(again) for again in itertools.count(1))
        stop = None if self.steps is None else number * self.steps
        for x, y in itertools.islice(batches, start, stop):
            x, y = self._share(x), self._share(y)
            if len(x):
                yield to_device(x, self.fabric.device), to_device(y, self.fabric.device)

    def _pass(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The loader once through; its shuffling is seeded by the number, its generators restored afterwards."""
        if isinstance(self.loader.sampler, DistributedSampler):
            self.loader.sampler.set_epoch(number)
        with self._seeded(f"shuffle/{number}"):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_for(self.seed, f"shuffle/{number}"))
                batches = iter(self.loader)  # draws the seed of its order here, and leaves the global stream alone
            empty = True
            for batch in batches:
                empty = False
                yield batch if self.labelled else with_labels(batch)
        if empty:
            raise DataError("The loader yields no batch. Give it at least one sample.")

    def _share(self, part: Tensor) -> Tensor:
        rank, world = self.fabric.global_rank, self.fabric.world_size
        return part[rank : len(part) - len(part) % world : world] if self._whole and world > 1 else part

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
            x, y = self._first if self.labelled else with_labels(self._first)
        except (TypeError, ValueError):
            raise DataError("The loader must yield pairs (samples, labels).") from None
        return x, as_long(y) if isinstance(y, Tensor) else y

    def digest(self) -> str:
        """Return the number of samples: a loader may draw others each time."""
        return f"{self.samples} samples"


def with_labels(samples: Any) -> tuple[Tensor, Tensor]:
    """Samples alone, or what a loader of them yields, with labels 0.

    >>> with_labels([torch.rand(2, 3)])[1]
    tensor([0, 0])
    """
    x = as_tensor(samples[0] if isinstance(samples, tuple | list) and samples else samples, "samples")
    return x, torch.zeros(x.shape[:1], dtype=torch.int64, device=x.device)


class Share:
    """The indices of one process in each batch of indices.

    >>> list(Share([[4, 2, 7, 1, 5], [0, 3]], rank=1, world=2))
    [[2, 1], [3]]
    """

    def __init__(self, batches: Iterable[list[int]], rank: int, world: int) -> None:
        self.batches, self.rank, self.world = batches, rank, world

    def __len__(self) -> int:
        return len(self.batches) if isinstance(self.batches, Sized) else 0

    def __iter__(self) -> Iterator[list[int]]:
        for indices in self.batches:
            share = indices[self.rank : len(indices) - len(indices) % self.world : self.world]
            if share:
                yield share


class _OfRank:
    """Seeds the workers of each process differently, or augmentations would repeat; then the user's own function."""

    def __init__(self, rank: int, then: Callable[[int], None] | None) -> None:
        self.rank, self.then = rank, then

    def __call__(self, worker: int) -> None:
        seed = seed_for(torch.initial_seed(), f"process {self.rank}")
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        if self.then is not None:
            self.then(worker)


def _shared(loader: DataLoader[Any], fabric: Fabric) -> tuple[DataLoader[Any], bool]:
    """The loader of this process, and whether its batches are still those of all processes."""
    if fabric.world_size == 1 or isinstance(loader.sampler, DistributedSampler):
        return loader, False
    if isinstance(loader.dataset, IterableDataset) or type(loader) is not DataLoader or loader.batch_sampler is None:
        return loader, True
    names = ("num_workers", "collate_fn", "pin_memory", "timeout", "multiprocessing_context", "generator",
             "prefetch_factor", "persistent_workers")  # fmt: skip
    init = _OfRank(fabric.global_rank, loader.worker_init_fn)
    share: Any = Share(loader.batch_sampler, fabric.global_rank, fabric.world_size)
    settings = {name: getattr(loader, name) for name in names}
    return DataLoader(loader.dataset, batch_sampler=share, worker_init_fn=init, **settings), False


def _size(loader: DataLoader[Any]) -> int:
    return loader.batch_size or 1
