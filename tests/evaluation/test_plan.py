"""Which attacks are chosen, what they may cost, and what happens where memory ends."""

import pytest
import torch
from torch import Tensor, nn

from holomorph._utils.memory import halving
from holomorph.attacks.autoattack import AutoAttackStage
from holomorph.attacks.base import Situation
from holomorph.attacks.registry import plan
from holomorph.errors import ConfigError
from holomorph.evaluation.evaluate import evaluate
from holomorph.evaluation.plan import QUICK_GRADIENTS, quick_samples
from holomorph.threats import ThreatModel
from scenes import THREAT, X, Y, halves


class Counted(nn.Module):
    """A linear model with margins that nothing breaks, which is dearest; an output counts as 0.4 of a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += len(x) * (1.0 if x.requires_grad and torch.is_grad_enabled() else 0.4)
        return 100 * x[:, :10]


@pytest.mark.parametrize("threats", ["inf:0.01", "inf:0.01,2:0.01,1:0.01"])
@pytest.mark.slow
def test_a_quick_evaluation_keeps_to_its_count_of_passes(threats: str) -> None:
    y = torch.arange(200) % 10
    x = nn.functional.pad(0.1 + 0.8 * nn.functional.one_hot(y, 10).float(), (0, 54))
    model, baseline = Counted(), Counted()
    record = evaluate(model, x, y, ThreatModel.parse_many(threats), quick=True, baseline=baseline)
    assert record.robust == 1.0
    assert record.samples <= quick_samples(len(record.threats)), "fewer where the machine is slow"
    assert 0 < model.passes + baseline.passes < QUICK_GRADIENTS


def test_the_full_plan_begins_with_autoattack_undisturbed() -> None:
    names = [a.name for a in plan(Situation(THREAT, classes=10))]
    assert names[:4] == ["apgd-ce", "apgd-t", "fab-t", "square"]


def test_a_thorough_plan_adds_the_boundary_attack_and_all_starts() -> None:
    usual = plan(Situation(THREAT, classes=10))
    further = [a for a in plan(Situation(THREAT, classes=10, effort="thorough")) if a not in usual]
    assert [a.name for a in further] == ["pgd-numerical", "pgd-restarts", "boundary"]
    assert "limit" not in further[0].settings()
    with pytest.raises(ConfigError, match="quick or thorough, not both"):
        evaluate(halves, X, Y, THREAT, quick=True, thorough=True)


def test_a_randomised_model_gets_the_randomised_version() -> None:
    stages = [a for a in plan(Situation(THREAT, classes=10, randomised=True)) if isinstance(a, AutoAttackStage)]
    assert [(s.name, s.draws) for s in stages] == [("apgd-ce", 20), ("apgd-dlr", 20)]


def test_a_batch_that_does_not_fit_is_halved_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    def hungry(x: Tensor, y: Tensor) -> Tensor:
        if len(x) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return x + y[:, None]

    x, y = torch.zeros(7, 1), torch.arange(7)
    assert halving(hungry, x, y)[:, 0].tolist() == list(range(7))
    assert "Out of memory with a batch of 7; going on with 3" in caplog.text
    with pytest.raises(RuntimeError, match="shapes"):
        halving(lambda x, y: (_ for _ in ()).throw(RuntimeError("shapes do not match")), x, y)


def test_an_evaluation_that_runs_out_of_memory_ends_with_the_same_numbers(caplog: pytest.LogCaptureFixture) -> None:
    def hungry(x: Tensor) -> Tensor:
        if len(x) > 2:
            raise MemoryError
        return halves(x)

    threat = ThreatModel("inf", 0.15)
    short, ample = (evaluate(model, X, Y, threat, quick=True) for model in (hungry, halves))
    assert "Out of memory with a batch of 5; going on with 2" in caplog.text
    assert short.threats[0].broken_by == ample.threats[0].broken_by
    assert [(c.name, c.verdict) for c in short.checks] == [(c.name, c.verdict) for c in ample.checks]
