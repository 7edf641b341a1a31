"""AWP: adversarial training at the worst nearby weights."""

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule

from holomorph.contract.model import own
from holomorph.errors import ConfigError
from holomorph.rules.base import Cost
from holomorph.rules.passes import Passes
from holomorph.rules.pgd import PGD


@dataclass
class AWP(PGD):
    r"""Risk at the points of PGD, under the worst small change of the weights.

    $$\mathbb{E}\,\ell\big(h_{\theta + v}(x + \delta)\big), \qquad
    v_l = \gamma\,\|\theta_l\|\,\frac{\nabla_{\theta_l}\ell}{\|\nabla_{\theta_l}\ell\|}$$

    for every weight tensor $\theta_l$ of two dimensions or more; biases and scales stay. The gradient is taken at
    $\theta + v$ and applied to $\theta$. Several processes share one v.

    Parameters
    ----------
    threat, steps, restarts, random_start:
        Those of :class:`~holomorph.rules.pgd.PGD`.
    gamma:
        Relative size of the change of the weights; the paper uses 0.005 to 0.01.

    Source: Wu et al. 2020 (AT-AWP).

    Examples
    --------
    >>> from holomorph.threats import ThreatModel
    >>> rule = AWP(ThreatModel("inf", 0.1), steps=2)
    >>> rule(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "awp"

    _: KW_ONLY
    gamma: float = 0.005

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_not_negative("gamma")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk at the worst points and weights."""
        moved = self.perturbed(model, x, y)
        passes = Passes(model)
        risk = self.risk(passes.first(moved), y).mean()
        weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
        if self.gamma == 0 or (not weights and isinstance(own(model), nn.Module)):
            return risk
        if not weights:
            raise ConfigError("AWP changes the weights, which a function does not show. Give the module, or use pgd.")
        if any(isinstance(part, FSDPModule) for part in model.modules()):
            raise ConfigError("AWP calls the network with other weights, which FSDP2 cannot follow. Use pgd, or DDP.")
        gradients = _averaged(torch.autograd.grad(risk, weights, materialize_grads=True))
        changed = {p: p + self.gamma * _relative(g, p.detach()) for p, g in zip(weights, gradients, strict=True)}
        return self.risk(passes.again(moved, changed), y).mean()

    @property
    def cost(self) -> Cost:
        """The attack, one pass to find the weights, one to learn."""
        forward, backward = super().cost
        return Cost(forward + 1, backward + 1)


def _relative(gradient: Tensor, weight: Tensor) -> Tensor:
    length = gradient.norm()
    return gradient * torch.where(length > 0, weight.norm() / length, 0.0)  # behind a layer of zeros no change is worse


def _averaged(gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if distributed.is_available() and distributed.is_initialized():
        for g in gradients:
            distributed.all_reduce(g)
            g /= distributed.get_world_size()
    return gradients
