"""Statistics of normalising layers, which each process learns from its own samples and all must share."""

from itertools import chain

import torch
from lightning_fabric import Fabric
from torch import nn


def join_statistics(fabric: Fabric, *modules: nn.Module | None) -> None:
    """Replace running means and variances by their averages over the processes.

    Running statistics are linear in what they have seen, so that averaging late gives what averaging after every
    step would. The variance between the processes' means is left out; ``torch.nn.SyncBatchNorm`` counts it.
    """
    if fabric.world_size == 1:
        return
    present = (module for module in modules if module is not None)
    buffers = [b for b in chain.from_iterable(m.buffers() for m in present) if b.is_floating_point() and b.numel()]
    if not buffers:
        return
    flat = torch.cat([b.detach().flatten().cpu().double() for b in buffers]).to(buffers[0].dtype)
    joined = fabric.all_reduce(flat.to(fabric.device), reduce_op="mean")
    parts = torch.split(joined, [b.numel() for b in buffers])  # type: ignore[arg-type]
    with torch.no_grad():
        for buffer, part in zip(buffers, parts, strict=True):
            buffer.copy_(part.reshape(buffer.shape))
