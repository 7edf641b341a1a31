"""Weights of which each process keeps a share: FSDP2, through Fabric's ``ModelParallelStrategy``.

Gradients, the optimizer's state and averages are shares, too. Within a step every process holds all weights, so that
they are exchanged once for all passes of an attack, and a rule may differentiate them as often as it likes.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from holomorph.errors import ConfigError


def is_sharing(fabric: Fabric) -> bool:
    """Whether the fabric shares the weights out."""
    return isinstance(fabric.strategy, ModelParallelStrategy)


def apart(module: nn.Module, fabric: Fabric) -> nn.Module:
    """The module that is trained: a copy where its weights are shared out, which FSDP2 does to a module for good.

    Raises
    ------
    ConfigError
        Where processes would hold the same share, the weights are shared out already, or cannot be.
    """
    if any(isinstance(p, DTensor) for p in module.parameters()):
        raise ConfigError(
            "The model's weights are shared out already. Give the whole model, and a Fabric with ModelParallelStrategy."
        )
    if not isinstance(fabric.strategy, ModelParallelStrategy):
        return module
    if (found := torch.__version__) < "2.13":
        raise ConfigError(f"Weights are shared out by torch 2.13 or newer, not {found}. Update it, or use DDP.")
    if (size := fabric.strategy.device_mesh["tensor_parallel"].size()) > 1:
        raise ConfigError(
            f"ModelParallelStrategy splits layers over {size} processes, which fit cannot feed. "
            f"Give it data_parallel_size={fabric.world_size} and tensor_parallel_size=1."
        )
    if any(value.dtype == torch.complex128 for value in module.state_dict().values()):
        raise ConfigError("Shares of complex numbers in double precision cannot be saved. Train this network by DDP.")
    return copy.deepcopy(module)


def set_up(module: nn.Module, fabric: Fabric) -> Any:
    """What to call instead of the module, in the fabric's precision; its weights are shared out if the fabric does so.

    Raises
    ------
    ConfigError
        Where a process would keep some weights for itself.
    """
    called = fabric.setup_module(module)
    if is_sharing(fabric):
        for name in (name for name, p in module.named_parameters() if not isinstance(p, DTensor)):
            remedy = 'Let it end with fully_shard(module, mesh=mesh["data_parallel"]).'
            raise ConfigError(f"The strategy's parallelize_fn leaves {name} whole. {remedy}")
        for part in _parts(module):
            part.set_reshard_after_forward(False)
            part.set_reshard_after_backward(False)
    return called


def averaged(module: nn.Module, fabric: Fabric, decay: float) -> AveragedModel:
    """A moving average of the weights, shared out as they are."""
    made = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]
    if is_sharing(fabric):
        set_up(made.module, fabric)
    return made


def _parts(module: nn.Module) -> list[FSDPModule]:
    return [part for part in module.modules() if isinstance(part, FSDPModule)]


@contextmanager
def together(module: nn.Module) -> Iterator[None]:
    """Let every process hold all weights inside; all processes come here together."""
    parts = _parts(module)
    try:
        for part in parts:
            part.unshard()
        yield
    finally:
        for part in parts:
            part.reshard()


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in host memory of tensors of which each process may hold a share.

    All processes ask together, and in one order: a file gives its tensors in any.
    """
    ordered = ((key, tensors[key].detach()) for key in sorted(tensors))
    full = ((key, value.full_tensor() if isinstance(value, DTensor) else value) for key, value in ordered)
    return {key: value.cpu().clone() for key, value in full}


def like(tensor: Tensor, own: Tensor) -> Tensor:
    """The share of a whole tensor that is held here of another one."""
    if not isinstance(own, DTensor) or isinstance(tensor, DTensor) or tensor.shape != own.shape:
        return tensor
    return distribute_tensor(tensor.to(own.device), own.device_mesh, own.placements, src_data_rank=None)
