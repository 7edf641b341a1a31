"""FreeAT: adversarial training that takes its attack from the gradients it computes anyway."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from holomorph.calculus.ascent import direction
from holomorph.calculus.norms import project
from holomorph.rules.base import Cost, Rule
from holomorph.threats import ThreatModel


@dataclass
class FreeAT(Rule):
    r"""Risk at x + δ, where δ climbs by the same backward pass that teaches the weights.

    $$\delta \leftarrow \Pi_\varepsilon\big(\delta + \varepsilon\,s(\nabla_x\ell(x + \delta))\big)$$

    at every ``backward()``; δ is kept from one call to the next, from one minibatch to the next. The paper shows
    each minibatch ``repeats`` times and divides the number of epochs by as much: ``fit`` does the first, ``compare``
    both, a loop of your own must.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    repeats:
        m; the paper uses 8.

    Source: Shafahi et al. 2019.

    Examples
    --------
    >>> rule = FreeAT(ThreatModel("inf", 0.1))
    >>> model, x, y = nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])
    >>> for _ in range(rule.replays):
    ...     rule(model, x, y).backward()
    >>> round(float(rule.delta.abs().max()), 6)
    0.1
    """

    name = "free"

    threat: ThreatModel
    _: KW_ONLY
    repeats: int = 8
    delta: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("repeats")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk at x + δ; the backward pass moves δ."""
        if self.delta is None or self.delta.shape[1:] != x.shape[1:] or len(self.delta) < len(x):
            self.delta = torch.zeros_like(x)
        self.delta = self.delta.to(x)
        moved = (x.detach() + self.delta[: len(x)]).clamp(*self.threat.box).requires_grad_()
        moved.register_hook(lambda gradient: self._climb(gradient, moved.detach()))  # type: ignore[no-untyped-call]
        return self.risk(model(moved), y).mean()

    def _climb(self, gradient: Tensor, moved: Tensor) -> None:
        if self.delta is not None:
            eps, part = self.threat.radius, self.delta[: len(gradient)]
            # A scaled loss may overflow: the optimizer then passes the step over, and so does δ.
            step = eps * direction(gradient, moved, self.threat).nan_to_num(0.0)
            self.delta[: len(gradient)] = project(part + step, self.threat.p, eps)

    @property
    def replays(self) -> int:
        """``fit`` takes each batch this often."""
        return self.repeats

    @property
    def cost(self) -> Cost:
        """One forward and one backward pass; the attack is free."""
        return Cost(1, 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state and δ."""
        return {**super().state_dict(), "delta": self.delta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.delta = None if state["delta"] is None else torch.as_tensor(state["delta"]).clone()

    def resume(self, states: Sequence[dict[str, Any]], process: int, processes: int) -> None:
        """Restore this process's δ; among another number of processes the whole batch's is dealt out anew."""
        super().resume(states, process, processes)
        parts = [state["delta"] for state in states]
        if len(parts) != processes and all(part is not None for part in parts):
            self.delta = torch.stack(parts, 1).flatten(0, 1)[process::processes].clone()
