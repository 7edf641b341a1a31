"""Validation accuracy, from tensors or a loader, shared among the processes."""

from collections.abc import Iterator
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from holomorph._utils.devices import to_device
from holomorph.contract import Guest, class_indices, evaluating

#: Samples and labels, or a loader of pairs.
Validation = tuple[Tensor, Tensor] | DataLoader[Any]


def accuracy(model: nn.Module, validation: Validation, batch_size: int, fabric: Fabric) -> float:
    """Share of correct predictions; process r of w looks at every w-th batch."""
    counts = torch.zeros(2, device=fabric.device)
    with evaluating(Guest(model)) as guest, torch.no_grad():
        for number, (x, y) in enumerate(_batches(validation, batch_size)):
            if number % fabric.world_size == fabric.global_rank:
                x, y = to_device(x, fabric.device), to_device(y, fabric.device)
                correct = (guest(x).argmax(1) == class_indices(y)).sum()
                counts = counts + torch.stack([correct, torch.full_like(correct, len(y))])
    if fabric.world_size > 1:
        counts = fabric.all_reduce(counts, reduce_op="sum")  # type: ignore[assignment]
    correct, samples = counts.tolist()
    return correct / samples


def _batches(validation: Validation, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    if isinstance(validation, DataLoader):
        return iter(validation)
    x, y = validation
    return zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True)
