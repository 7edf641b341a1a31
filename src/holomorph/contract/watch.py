"""Every batch of a training loop is looked at, and no device waits for it."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from holomorph._utils.devices import Later
from holomorph.contract.data import as_tensor, check_batch, check_extremes, check_kind
from holomorph.contract.labels import are_soft, as_long, check_form, check_range, check_sums
from holomorph.contract.model import Differentiable, Guest, usable

#: Verdicts that may be on their way before a batch waits for the oldest.
_PATIENCE = 50


class Watch:
    """Looks at the batches of one rule: on the CPU at once, on an accelerator some steps later.

    Types and shapes are known to the host and always judged at once. Values on a device are reduced there to a few
    numbers, which travel to the host while the device works on; a later batch reads them. Meanwhile labels are held
    inside the classes, since one outside would end the device's process. The first batch of a model is waited for.

    >>> guest, x, y = Watch().look(torch.nn.Linear(2, 2), torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
    >>> guest.highest
    1
    """

    def __init__(self) -> None:
        self._pending: deque[_Verdict] = deque()
        self._model: weakref.ref[Any] | None = None
        self._guest: Guest | None = None

    def look(
        self, model: Differentiable, x: Tensor, y: Tensor, box: tuple[float, float] | None = None
    ) -> tuple[Guest, Tensor, Tensor]:
        """Judge a batch; return the model as a guest, and the samples and labels to work with.

        Raises
        ------
        DataError
            For this batch, or for the values of an earlier one.
        """
        while self._pending and (self._pending[0].numbers.arrived or len(self._pending) > _PATIENCE):
            self._pending.popleft().judge()
        x, y = as_tensor(x, "samples"), as_tensor(y, "labels")
        check_kind(x, y)
        check_form(y, soft=True)
        x, y = usable(x), as_long(usable(y))
        if x.is_complex():
            check_batch(x)
            return Guest(model), x, y
        verdict = _Verdict.of(x, y, box)
        if x.device.type == "cpu" or (classes := self._known(model)) is None:
            guest = Guest(model, highest=verdict.judge())
        else:
            self._pending.append(replace(verdict, classes=classes))
            guest = Guest(model)
            guest.classes = classes
            y = y if are_soft(y) else y.clamp(0, classes - 1)
        self._remember(model, guest)
        return guest, x, y

    def settle(self) -> None:
        """Read the verdicts that are still on their way."""
        while self._pending:
            self._pending.popleft().judge()

    def _known(self, model: Differentiable) -> int | None:
        """The number of classes, if this is the model of the last call."""
        same = self._model is not None and self._model() is model
        return self._guest.classes if same and self._guest is not None else None

    def _remember(self, model: Differentiable, guest: Guest) -> None:
        try:
            self._model, self._guest = weakref.ref(model), guest
        except TypeError:  # some callables cannot be referred to: each of their batches is waited for
            self._model = self._guest = None

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has seen nothing."""
        return Watch, ()


@dataclass(frozen=True)
class _Verdict:
    """Extremes of a batch on their way to the host."""

    numbers: Later
    box: tuple[float, float] | None
    soft: bool
    classes: int | None = None

    @classmethod
    def of(cls, x: Tensor, y: Tensor, box: tuple[float, float] | None) -> _Verdict:
        x, y = x.detach(), y.detach()
        off = (y.sum(1) - 1).abs().amax() if are_soft(y) else y.new_zeros(())
        parts = [*torch.aminmax(x), *torch.aminmax(y), off]
        return cls(Later(torch.stack([part.float().to(x.device) for part in parts])), box, are_soft(y))

    def judge(self) -> int | None:
        """Refuse the batch or return its highest label, None for probabilities."""
        low, high, first, last, off = self.numbers.read()
        check_extremes(low, high, self.box)
        if self.soft:
            check_sums(first, off)
            return None
        check_range(int(first), int(last), self.classes)
        return int(last)
