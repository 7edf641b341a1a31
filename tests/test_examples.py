"""Every example runs and does what it shows."""

import runpy
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

import holomorph as hm

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_fine_tuning_makes_a_network_robust_and_forgets_little():
    found = runpy.run_path(str(EXAMPLES / "fine_tuning.py"))["main"]()
    clean, robust = found.pop("before")
    assert len(found) == 2 + (find_spec("peft") is not None)
    assert all(after > clean - 0.03 for after, _ in found.values())
    assert all(after > robust + 0.08 for _, after in found.values())


def test_frozen_parts_and_rates_of_their_own_hold_while_a_network_is_fine_tuned():
    example = runpy.run_path(str(EXAMPLES / "fine_tuning.py"))
    model = example["with_head"](nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.SiLU()), 8, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x, y = torch.rand(30, 4), torch.arange(30) % 3
    hm.fit(example["head_alone"](model), (x, y), "finite", threat="inf:0.1", epochs=1, optimizer=example["rates"](1.0))
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    adam = example["rates"](0.1)(list(model.requires_grad_(True).parameters()))
    assert [group["lr"] for group in adam.param_groups] == [pytest.approx(2e-4), pytest.approx(2e-3)]


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"fine_tuning"}
