"""The module in the fabric's precision, as rules call it: differentiable by its input, in the data's type outside."""

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from holomorph.contract import logits_of


class Mixed(nn.Module):
    """A module in mixed precision that a rule may differentiate by its input: Fabric's own wrapper forbids that."""

    def __init__(self, module: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.module, self.autocast = module, fabric.autocast

    def forward(self, x: Tensor) -> Tensor:
        """Low precision inside, the input's outside."""
        with self.autocast():
            return logits_of(self.module(x), len(x)).to(x.dtype)


class Measured(nn.Module):
    """A module in the fabric's precision that takes and gives tensors in the precision of the data."""

    def __init__(self, module: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.module, self.convert = module, fabric.strategy.precision.convert_input

    def forward(self, x: Tensor) -> Tensor:
        """Convert inside; in single precision nothing is converted."""
        return logits_of(self.module(self.convert(x)), len(x)).to(x.dtype)


def is_mixed(fabric: Fabric) -> bool:
    """Whether the fabric computes in mixed precision."""
    return "mixed" in str(fabric.strategy.precision.precision)


def for_rules(module: nn.Module, wrapped: nn.Module, fabric: Fabric) -> nn.Module:
    """What a rule calls: Fabric's wrapper, or in mixed precision one of ours around the exchange of gradients."""
    exchange = exchanging(wrapped)
    if exchange is not None:
        exchange.broadcast_buffers = (
            False  # an attack calls the network often; statistics are joined when they are read
        )
    return Mixed(exchange or module, fabric) if is_mixed(fabric) else wrapped


def exchanging(wrapped: nn.Module) -> DistributedDataParallel | None:
    """The part that exchanges gradients between processes, if there is one."""
    return next((part for part in wrapped.modules() if isinstance(part, DistributedDataParallel)), None)
