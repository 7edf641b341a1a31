"""Region-wise experts: a gate and K continuous experts, discontinuous as a whole once the gate is hard."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from holomorph.errors import ConfigError


class MixtureOfExperts(nn.Module):
    r"""A gate g and experts h_1..h_K: logits $\log\sum_k \operatorname{softmax}(g)_k \operatorname{softmax}(h_k)$.

    In training mode the mixture is soft, so any rule can train it. In evaluation mode the gate is hard: each sample is
    answered by the expert that the gate prefers, and the whole is continuous only where the preference does not
    change. Attack :meth:`soft` and :meth:`views` as well as the hard system: its own gradients do not see the gate.

    Parameters
    ----------
    gate:
        (batch, ...) to (batch, K).
    experts:
        K modules, (batch, ...) to logits (batch, classes).

    Raises
    ------
    ConfigError
        Without experts; on the first call, if the gate has another number of outputs.

    Source: docs/mathematics.md, section 8; Barati et al. 2023 suggest region-wise experts, this form is our own.

    Examples
    --------
    >>> system = MixtureOfExperts(nn.Linear(2, 3), [nn.Linear(2, 4) for _ in range(3)])
    >>> bool(torch.allclose(system(torch.rand(5, 2)).exp().sum(1), torch.ones(5)))  # log-probabilities
    True
    """

    def __init__(self, gate: nn.Module, experts: Iterable[nn.Module]) -> None:
        super().__init__()
        self.gate = gate
        self.experts = nn.ModuleList(experts)
        if len(self.experts) == 0:
            raise ConfigError("A mixture needs at least one expert.")

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities: the soft mixture in training mode, the preferred expert's in evaluation mode."""
        return self.soft(x) if self.training else self.hard(x)

    def soft(self, x: Tensor) -> Tensor:
        """Return the log-probabilities of the smooth mixture."""
        weight = self._preference(x).log_softmax(1)[:, :, None]
        return (weight + self._opinions(x)).logsumexp(1)

    def hard(self, x: Tensor) -> Tensor:
        """Return the log-probabilities of the expert that the gate prefers."""
        chosen = self.route(x)
        return self._opinions(x)[torch.arange(len(x), device=x.device), chosen]

    def route(self, x: Tensor) -> Tensor:
        """Return the index of the preferred expert, (batch,)."""
        return self._preference(x).argmax(1)

    def views(self) -> dict[str, nn.Module]:
        """Return what an adaptive attack takes its gradients from: the hard system, the soft one, each expert.

        An example counts if it fools the *hard* system, wherever it was made.
        """
        single: dict[str, nn.Module] = {f"expert {k}": expert for k, expert in enumerate(self.experts)}
        return {"hard": _View(self, self.hard), "soft": _View(self, self.soft), **single}

    def _preference(self, x: Tensor) -> Tensor:
        preference: Tensor = self.gate(x)
        if preference.ndim != 2 or preference.shape[1] != len(self.experts):
            raise ConfigError(
                f"The gate returned the shape {tuple(preference.shape)} for {len(self.experts)} experts. "
                f"Give it one output an expert."
            )
        return preference

    def _opinions(self, x: Tensor) -> Tensor:
        return torch.stack([expert(x).log_softmax(1) for expert in self.experts], 1)


class _View(nn.Module):
    """One face of the system as a module of its own."""

    def __init__(self, system: MixtureOfExperts, face: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.system = system
        self.face = face

    def forward(self, x: Tensor) -> Tensor:
        """Return that face's logits."""
        return self.face(x)
