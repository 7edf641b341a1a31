"""Wherever a model keeps what it has seen, it is put back as it was."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from holomorph.contract.classifier import Classifier
from holomorph.contract.snapshot import Isolated, Snapshot, under_attack
from holomorph.evaluation.inspection import observe
from holomorph.threats import ThreatModel

SEEN: list[Tensor] = []
COUNT = 0
X = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
THREAT = ThreatModel("inf", 0.1)


class ByAttribute(nn.Module):
    """Counts in a plain attribute that does not exist before the first call."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return x * self.calls


class ByBuffer(nn.Module):
    """Counts in a buffer, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class ByClass(nn.Module):
    """Counts in a list that all models of the class share."""

    shared: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shared.append(1)
        return x * len(self.shared)


class ByDefault(nn.Module):
    """Counts in a mutable default."""

    def forward(self, x: Tensor, seen: list[int] = []) -> Tensor:  # noqa: B006
        seen.append(1)
        return x * len(seen)


class ByParameter(nn.Module):
    """Counts in a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        out = x * self.weight
        with torch.no_grad():
            self.weight += 1
        return out


def by_list(x: Tensor) -> Tensor:
    """Counts in a list of its module."""
    SEEN.append(x)
    return x * len(SEEN)


def by_name(x: Tensor) -> Tensor:
    """Counts in a number of its module."""
    global COUNT
    COUNT += 1
    return x * COUNT


def by_closure() -> Callable[[Tensor], Tensor]:
    """Counts in a variable that only the function sees."""
    calls = 0

    def model(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x * calls

    return model


KINDS = {
    "attribute": ByAttribute(),
    "buffer": ByBuffer(),
    "class": ByClass(),
    "default": ByDefault(),
    "parameter": ByParameter(),
    "list": by_list,
    "name": by_name,
    "closure": by_closure(),
    "wrapped": nn.Sequential(ByAttribute(), ByClass()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_memory_is_seen_by_behaviour_and_put_back(kind: str) -> None:
    model = KINDS[kind]
    first = Snapshot(model)
    assert observe(Classifier(model, first=first), X, THREAT).stateful
    first.restore()
    once = model(X)
    assert not torch.equal(model(X), once)
    first.restore()
    assert torch.equal(model(X), once)
    forgetful = Isolated(model, first)
    assert torch.equal(forgetful(X), once)
    assert torch.equal(forgetful(X), once)


def test_a_model_that_only_takes_notes_is_not_blamed() -> None:
    class Noting(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.last = x
            self.calls = getattr(self, "calls", 0) + 1
            return super().forward(x)

    model = Noting(3, 2)
    with under_attack(model):
        seen = observe(Classifier(model, first=Snapshot(model)), X, THREAT)
    assert not seen.stateful
    assert not seen.batch_dependent


def test_modes_are_left_to_the_caller() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout())
    first = Snapshot(model)
    model.eval()
    first.restore()
    assert not any(module.training for module in model.modules())


def test_a_batch_that_decides_is_seen_and_taken_apart() -> None:
    def centred(x: Tensor) -> Tensor:
        return x - 0.9 * x.mean(0, keepdim=True)

    first = Snapshot(centred)
    assert observe(Classifier(centred, first=first), X, THREAT).batch_dependent
    alone = Isolated(centred, None, alone=True)(X)
    assert torch.allclose(alone, 0.1 * X)
