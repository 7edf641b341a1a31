"""The form of every learning rule: a callable (model, x, y) -> scalar that any training loop can minimise."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holomorph.calculus.measures import SampleLoss
from holomorph.calculus.observables import observable
from holomorph.contract import as_threat, at_least_one
from holomorph.contract.fused import twice_differentiable
from holomorph.contract.model import Differentiable, Guest, evaluating, gradients
from holomorph.contract.settings import check_seed
from holomorph.contract.units import within
from holomorph.contract.watch import Watch
from holomorph.errors import ConfigError
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import FeatureThreat, box_of

#: Logits (batch, classes) and labels to the risk of each sample, (batch,).
RiskFunction = Callable[[Tensor, Tensor], Tensor]


class Cost(NamedTuple):
    """Passes through the network a training sample costs.

    A backward pass counts twice a forward one, half of it if no gradient of a parameter is asked for. An input
    gradient that is differentiated again counts as three backward passes, which is what is measured.
    """

    forward: float
    backward: float

    @property
    def passes(self) -> float:
        """Work in units of one forward pass."""
        return self.forward + 2 * self.backward


@dataclass(kw_only=True)
class Rule(ABC):
    """A learning rule: ``loss = rule(model, x, y)``, then one ``backward()``.

    The model is any classifier, a module or a function; :func:`holomorph.contract.outputs.logits_of` says what it may
    return. It gets copies of the samples, so that it may work in place. Labels are class indices (batch,) or class
    probabilities (batch, classes). A threat may be given as text, ``"inf:8/255"``.

    Attributes
    ----------
    seed:
        Seeds the rule's own generator, so that the same seed draws the same points.
    label_smoothing:
        The share of each label that is spread evenly over all classes, in [0, 1).
    risk_function:
        Your own risk instead of the cross-entropy: logits (batch, classes) and labels to one number a sample, (batch,).
    progress:
        The share of training that is done, in [0, 1]. A training loop may set it; schedules read it.
    measured:
        What the last call saw (energy, margin, ...): detached scalars, read only when a log is written,
        so that no device waits for a print.
    doublings:
        How often :meth:`strengthen` was called.
    """

    name: ClassVar[str]
    second_order: ClassVar[bool] = False  # whether the rule differentiates a gradient
    doubled: ClassVar[str] = "weight"  # the setting that :meth:`strengthen` doubles, where a rule has it
    takes_risk: ClassVar[bool] = True  # whether the rule minimises a risk that may be another than the cross-entropy
    supervised: ClassVar[bool] = True  # whether the rule teaches classes, so that there are labels and accuracies
    seed: int = 0
    label_smoothing: float = 0.0
    risk_function: RiskFunction | None = field(default=None, repr=False)
    progress: float = field(default=1.0, init=False, repr=False)
    measured: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    doublings: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        self.generator = torch.Generator().manual_seed(self.seed)
        self._watch = Watch()
        threat: ThreatModel | None = getattr(self, "threat", None)
        if threat is not None:
            vars(self)["threat"] = as_threat(threat)
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}; give a share in [0, 1).")
        if self.risk_function is not None:
            if not callable(self.risk_function):
                raise ConfigError(f"risk_function is {self.risk_function!r}; give a function of logits and labels.")
            if not self.takes_risk:
                raise ConfigError(f"The rule {self.name!r} rests on its own risk. Leave risk_function out.")

    def __call__(self, model: Differentiable, x: Tensor, y: Tensor) -> Tensor:
        """Return the scalar to minimise on one batch.

        Where the caller has switched gradients off, as a validation step does, the scalar has none either.

        Raises
        ------
        DataError
            For samples outside the threat's box, labels that are neither indices nor probabilities of classes, NaN. On
            an accelerator values are judged some calls later, so that no step waits for them.
        ModelError
            For outputs that are no logits.
        """
        if torch.compiler.is_compiling():  # of a step compiled whole the compiler can follow the model, not its attack
            untraced = torch.compiler.disable(self._on_batch)  # type: ignore[no-untyped-call]
            return cast(Tensor, untraced(model, x, y))
        return self._on_batch(model, x, y)

    def _on_batch(self, model: Differentiable, x: Tensor, y: Tensor) -> Tensor:
        if isinstance(model, Guest):  # a rule inside a rule
            self._draw_on(x.device)
            return self._differentiable_loss(model, x, y)
        wanted, threat = torch.is_grad_enabled(), self.defends_against
        with gradients():
            guest, x, y = self._watch.look(model, x, y, box_of(threat))
            if isinstance(threat, FeatureThreat):
                inside, x = within(guest, x, threat)
                guest = Guest(inside, highest=guest.highest)
            self._draw_on(x.device)
            loss = self._differentiable_loss(guest, x, y)
        return loss if wanted else loss.detach()

    def _differentiable_loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with twice_differentiable(model) if self.second_order else nullcontext():
            return self.loss(model, x, y)

    def settle(self) -> None:
        """Judge the last batch, whose values an accelerator may still be looking at."""
        self._watch.settle()

    def risk(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of each sample, with this rule's label smoothing, or the user's own risk; shape (batch,)."""
        if self.risk_function is not None:
            found = self.risk_function(logits, y)
            if found.shape != logits.shape[:1]:
                shapes = f"{tuple(found.shape)} for {len(logits)} samples"
                raise ConfigError(f"risk_function returns the shape {shapes}. Return one number a sample, no mean.")
            return found
        return cross_entropy(logits, y, reduction="none", label_smoothing=self.label_smoothing)

    def observed(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the observable of this name; the loss is the user's own risk where there is one."""
        return self.risk if name == "loss" and self.risk_function is not None else observable(name)

    def sample_loss(self, model: nn.Module, y: Tensor) -> SampleLoss:
        """Return the risk as a function of the points, on the network in evaluation mode: what a measure climbs."""

        def risk(z: Tensor) -> Tensor:
            with evaluating(model):
                return self.risk(model(z), y)

        return risk

    def require_positive(self, *names: str) -> None:
        """Refuse settings that must be 1, 2, 3, ..."""
        at_least_one(**{name: getattr(self, name) for name in names})

    def require_not_negative(self, *names: str) -> None:
        """Refuse settings below 0, and those that are no numbers."""
        for name in names:
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must not be negative.")

    @abstractmethod
    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Compute the scalar; the batch has been checked."""

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """What one sample of one step costs."""

    @property
    def defends_against(self) -> ThreatModel | None:
        """The threat the rule trains for, if there is one."""
        return getattr(self, "threat", None)

    @property
    def can_strengthen(self) -> bool:
        """Whether the rule has a weight that can be doubled."""
        return getattr(self, self.doubled, 0) > 0

    def strengthen(self) -> None:
        """Double the weight, or what the rule doubles instead."""
        self.doublings += 1
        self._double()

    def _double(self) -> None:
        if hasattr(self, self.doubled):
            setattr(self, self.doubled, 2 * getattr(self, self.doubled))

    def reseed(self, seed: int) -> None:
        """Let the rule draw anew; several processes must not draw the same points."""
        self.generator.manual_seed(seed)

    @property
    def replays(self) -> int:
        """How often a training loop takes each batch in turn, one optimizer step each."""
        return 1

    @property
    def period(self) -> int:
        """After how many calls the cost of a call repeats itself."""
        return 1

    def settings(self) -> dict[str, Any]:
        """Every setting with its value, as JSON can hold it."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.init}

    def _draw_on(self, device: torch.device) -> None:
        """Draw random numbers on the device of the samples: none is copied there, and no step waits."""
        if self.generator.device != device:
            self.generator = torch.Generator(device).manual_seed(self.generator.initial_seed())

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep so that a resumed run draws the same points: numbers, texts and tensors."""
        state, kind = self.generator.get_state(), self.generator.device.type
        return {"generator": state, "device": kind, "doublings": self.doublings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; on another kind of device the rule draws anew from its seed."""
        if state.get("device", "cpu") == self.generator.device.type:
            self.generator.set_state(torch.as_tensor(state["generator"], dtype=torch.uint8))
        while self.doublings < state["doublings"]:
            self.doublings += 1
            self._double()

    def resume(self, states: Sequence[dict[str, Any]], process: int, processes: int) -> None:
        """Restore this process's part of a run from the states of all processes that it had."""
        self.load_state_dict(states[process] if len(states) == processes else states[0])


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, ThreatModel):
        return value.model_dump(mode="json")
    if isinstance(value, Rule):
        return {"rule": value.name, **value.settings()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
