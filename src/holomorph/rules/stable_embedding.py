"""The energy of an encoder, without labels: perturbed inputs keep the embedding that the clean ones had."""

import weakref
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holomorph.contract.data import as_tensor
from holomorph.contract.model import Differentiable, evaluating
from holomorph.errors import ConfigError, ModelError
from holomorph.rules.base import Cost, Rule
from holomorph.rules.nfgsm import noisy_step
from holomorph.rules.passes import called_with
from holomorph.threats import ThreatModel


@dataclass
class StableEmbedding(Rule):
    r"""Squared distance of the embedding one worst step away from the one that the untouched encoder gives.

    $$\mathbb{E}\,\|f(x' + \varepsilon s) - f_0(x)\|_2^2, \qquad x' = x + u, \quad
    s \text{ the dual direction of } \nabla_{x'}\|f(x') - f_0(x)\|_2^2$$

    $f$ maps inputs to embeddings (batch, n), and $f_0$ is a frozen copy of it from the first call: without it a
    constant would be optimal. At x itself the gradient of the distance is zero, so the step begins at a random point
    u of the ball. For small ε the loss is the largest term $\|Df\,\delta\|^2$ of the energy of $f$; it includes the
    remainder, and the drift of clean embeddings.

    No label is needed: ``rule(encoder, x)`` is enough, labels are not looked at, and ``fit`` takes samples alone.
    Whatever is put on top inherits the stability. Let a linear head with rows $w_k$ decide for class y by the margin
    $m = \min_{j \ne y} \langle w_y - w_j, f_0(x)\rangle + b_y - b_j$. It then decides so at every point whose
    embedding lies within $m / \max_j \|w_y - w_j\|_2$ of $f_0(x)$.

    Parameters
    ----------
    threat:
        Norm, radius and box of the encoder's inputs.
    noise:
        The radius of the ball of u, in ε; 2 as in N-FGSM.

    Raises
    ------
    ModelError
        For a function without parameters, of which there is no frozen copy. Give the module.
    ConfigError
        For the state of another encoder.

    Source: our own form of the energy; the frozen reference is that of Schlarmann et al. 2024, "Robust CLIP", who take
    ten steps, the single step that of de Jorge et al. 2022.

    Examples
    --------
    >>> rule, encoder = StableEmbedding(ThreatModel("inf", 0.1)), nn.Sequential(nn.Linear(4, 8), nn.GELU())
    >>> rule(encoder, torch.rand(5, 4)).backward()
    """

    name = "stable-embedding"
    supervised = False
    takes_risk = False

    threat: ThreatModel
    _: KW_ONLY
    noise: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_not_negative("noise")
        self._frozen: list[Tensor] = []
        self._of: weakref.ref[Tensor] | None = None  # a parameter of the encoder that the frozen copy is of

    def __call__(self, model: Differentiable, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the scalar to minimise on one batch of samples, with or without labels."""
        x = as_tensor(x, "samples")
        return super().__call__(model, x, torch.zeros(x.shape[:1], dtype=torch.int64, device=x.device))

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Mean squared distance of the moved embeddings from the reference."""
        frozen = self._reference(model)
        with evaluating(model):
            with torch.no_grad():
                goal = called_with(model, frozen, x)
            moved = noisy_step(lambda z: _distance(model(z), goal), x, self.threat, self.noise, self.generator)
        distance = _distance(model(moved), goal).mean()
        self.measured = {"distance": distance.detach()}
        return distance

    def _reference(self, model: nn.Module) -> Mapping[Tensor, Tensor]:
        """What parameters and buffers were when this encoder came for the first time."""
        now = [*model.parameters(), *model.buffers()]
        first = next(model.parameters(), None)
        if first is None:
            raise ModelError("The encoder shows no parameters, so that nothing can be frozen. Give it as a module.")
        if not self._frozen or (self._of is not None and self._of() is not first):
            self._frozen = [tensor.detach().clone() for tensor in now]
        self._of = weakref.ref(first)
        if [t.shape for t in self._frozen] != [t.shape for t in now]:
            raise ConfigError("The state of the rule belongs to another encoder. Make a new rule for this one.")
        self._frozen = [old.to(new.device) for old, new in zip(self._frozen, now, strict=True)]
        return dict(zip(now, self._frozen, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state and the frozen encoder."""
        return {**super().state_dict(), "frozen": self._frozen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self._frozen, self._of = list(state["frozen"]), None

    def __getstate__(self) -> dict[str, Any]:
        """A copy keeps the frozen encoder for the first one that it meets."""
        return {**vars(self), "_of": None}

    @property
    def cost(self) -> Cost:
        """The reference; one step, and a forward and half a backward pass for its direction."""
        return Cost(3, 1.5)


def _distance(embedded: Tensor, goal: Tensor) -> Tensor:
    return (embedded - goal).square().sum(1)
