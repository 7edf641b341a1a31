"""Features with an eps and a box of their own, some frozen: linear models, whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holomorph.errors import ConfigError, DataError
from holomorph.evaluation.attack import attack
from holomorph.evaluation.audit import audit
from holomorph.evaluation.evaluate import evaluate
from holomorph.threats import ThreatModel
from holomorph.threats.features import Features

SCALE = torch.tensor([1.0, 100.0, 0.01, 10.0], dtype=torch.float64)
ONCE = ThreatModel("inf", 1)


class Tilted(nn.Module):
    """Two classes on either side of a plane through the middle of the box."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        slope = torch.randn(4, generator=generator, dtype=torch.float64) / SCALE
        self.slope, self.middle = nn.Parameter(slope.to(dtype)), nn.Parameter((SCALE / 2).to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        gap = (x - self.middle) @ self.slope
        return torch.stack([gap, torch.zeros_like(gap)], 1)


FEATURES = Features(SCALE * torch.tensor([0.2, 0.1, 0.3, 0.0]), 0 * SCALE, SCALE)


def samples(count: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    drawn = torch.rand(count, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = drawn.to(dtype) * SCALE.to(dtype)
    return x, Tilted(dtype)(x).argmax(1)


def breakable(x: Tensor, factor: float = 1.0) -> Tensor:
    """The margin falls by at most sum |a_j| min(eps_j, room to the wall)."""
    model, x = Tilted(), x.double()
    gap, slope = (x - SCALE / 2) @ model.slope.detach(), model.slope.detach()
    eps = factor * FEATURES.eps
    down = torch.where((slope > 0) == (gap > 0)[:, None], (x - FEATURES.low).minimum(eps), (SCALE - x).minimum(eps))
    return (slope.abs() * down).sum(1) > gap.abs()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_whole_evaluation_finds_what_can_be_broken_and_nothing_else(dtype: torch.dtype, tmp_path: Path) -> None:
    x, y = samples(30, dtype)
    threats = [ONCE, ThreatModel("inf", 0.5)]
    record = evaluate(Tilted(dtype), x, y, threats, features=FEATURES, quick=True, checks=dtype == torch.float64,
                      baseline=Tilted(dtype), out=tmp_path)  # fmt: skip
    for result, factor in zip(record.threats, (1.0, 0.5), strict=True):
        assert [by is not None for by in result.broken_by] == breakable(x, factor).tolist()
    assert record.trustworthy, record.failed
    assert record.features is not None
    assert record.features.eps[3] == 0
    assert record.upper_bound
    assert {a.package.split()[0] for a in record.attacks} == {"holomorph"}, "no package knows such threats"
    verified = audit(record, Tilted(dtype), tmp_path)
    assert verified.passed, verified.discrepancies
    with np.load(tmp_path / "evaluation.npz") as kept:
        assert kept["x"].dtype == (np.float64 if dtype == torch.float64 else np.float32)
        arrays = {name: kept[name] for name in kept}
    arrays["adversarial_0"][:, 3] += 1e-3  # somebody moves a frozen feature
    np.savez(tmp_path / "evaluation.npz", **arrays)
    assert any("distances" in line for line in audit(record, Tilted(dtype), tmp_path).discrepancies)


def test_the_full_plan_serves_features_and_keeps_to_their_walls() -> None:
    x, y = samples(12)
    record = evaluate(Tilted(), x, y, ONCE, features=FEATURES)
    assert [by is not None for by in record.threats[0].broken_by] == breakable(x).tolist()
    assert "AutoAttack cannot serve" in record.upper_bound_reason
    assert record.trustworthy, record.failed
    assert [c.name for c in record.checks if c.verdict == "warn"] == []
    for example in record.gallery:
        moved = (torch.tensor(example.adversarial) - torch.tensor(example.input)).abs()
        assert moved[3] == 0
        assert (moved.double() <= 1.0001 * FEATURES.eps * max(1.0, example.distance)).all()


def test_in_l2_the_units_make_an_ellipsoid() -> None:
    """Far from the walls the margin falls by at most eps times the length of (a_j eps_j)."""
    x = SCALE / 2 + 0.02 * (samples(60)[0] - SCALE / 2)
    model = Tilted()
    y = model(x).argmax(1)
    gap = ((x - SCALE / 2) @ model.slope.detach()).abs()
    reach = (model.slope.detach() * FEATURES.eps).norm()
    radius = float(gap.median() / reach)
    found = attack(model, x, y, threat=ThreatModel(2, radius), features=FEATURES)
    sure = (gap / reach - radius).abs() > 0.01 * radius
    assert torch.equal(found.broken[sure], (gap / reach < radius)[sure])
    assert (found.adversarial[:, 3] == x[:, 3]).all()


def test_among_few_possible_rows_the_attack_finds_whatever_an_enumeration_finds() -> None:
    """Three whole numbers up to 5 whose sum is at most 9, and a category of three."""
    numbers = torch.cartesian_prod(*[torch.arange(6.0)] * 3)
    rows = torch.cat([torch.cat([numbers, torch.eye(3)[[k] * 216]], 1) for k in range(3)])
    rows = rows[rows[:, :3].sum(1) <= 9].double()
    high = torch.tensor([5.0, 5.0, 5.0, 1.0, 1.0, 1.0])
    features = Features(torch.tensor([2.0, 2.0, 2.0, 1.0, 1.0, 1.0]), 0 * high, high, whole=high > 1,
                        groups=torch.tensor([0, 0, 0, 1, 1, 1]), matrix=(high[None] > 1).double(),
                        bound=torch.tensor([9.0]))  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(4)
        net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 3)).double()
        x = rows[torch.randperm(len(rows))[:40]]

    def model(x: Tensor) -> Tensor:
        return net((x / high.double() - 0.5) * 6)

    y, answers = model(x).argmax(1), model(rows).argmax(1)
    near = ((rows - x[:, None]) / features.eps).abs().sum(2) <= 2
    breakable = (near & (answers != y[:, None])).any(1)
    found, ascent = (
        attack(model, x, y, threat=ThreatModel(1, 2), features=features, name=name)
        for name in ("pgd-on-rows", "pgd-scaled")
    )
    assert torch.equal(found.broken, breakable)
    assert int(ascent.broken.sum()) < int(breakable.sum()) < 40


def test_features_that_cannot_be_used_are_refused_in_one_sentence(tmp_path: Path) -> None:
    one = torch.ones(2)
    good = Features(one, 0 * one, one)
    linear = nn.Linear(2, 2)
    with pytest.raises(DataError, match="outside the box"):
        evaluate(linear, 2 * torch.ones(1, 2), torch.tensor([0]), ONCE, features=good)
    with pytest.raises(DataError, match="The samples have the shape"):
        evaluate(linear, torch.ones(1, 3), torch.tensor([0]), ONCE, features=good)
    with pytest.raises(ConfigError, match="pgd-numerical"):
        attack(linear, torch.ones(1, 2), torch.tensor([0]), threat=ONCE, features=good, name="fmn")
    for parts, words in (((-one, 0 * one, one), "at least 0"), ((0 * one, 0 * one, one), "one of them positive"),
                         ((one, one, one), "empty"), ((one, -torch.inf * one, one), "finite"),
                         ((one, torch.zeros(3), one), "shapes")):  # fmt: skip
        with pytest.raises(DataError, match=words):
            Features(*parts)
    np.savez(tmp_path / "half.npz", eps=np.ones(2))
    for name, words in (("half.npz", "low"), ("none.npz", "no file")):
        with pytest.raises(DataError, match=words):
            Features.load(tmp_path / name)
