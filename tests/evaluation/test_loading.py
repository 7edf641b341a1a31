"""User models: factories, weights that run no code, ONNX, tabular features."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from holomorph.errors import CheckpointError, ConfigError, DataError
from holomorph.evaluation.evaluate import evaluate
from holomorph.evaluation.features import attack_features
from holomorph.evaluation.loading import OnnxModel, load_model, load_weights
from holomorph.types import ThreatModel


class Bomb:
    """A pickle that runs code when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> object:
        return (Path.touch, (self.mark,))


def test_weights_are_read_from_safetensors_and_from_state_dicts(tmp_path: Path) -> None:
    source = nn.Linear(3, 2)
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    torch.save(source.state_dict(), tmp_path / "b.pt")
    torch.save({"state_dict": source.state_dict(), "epoch": 3}, tmp_path / "c.pt")
    for name in ("a.safetensors", "b.pt", "c.pt"):
        model = nn.Linear(3, 2)
        load_weights(model, tmp_path / name)
        assert torch.equal(model.weight, source.weight)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    torch.save({"state": Bomb(tmp_path / "exploded")}, tmp_path / "bomb2.pt")
    for name in ("bomb.pt", "bomb2.pt"):
        with pytest.raises(CheckpointError, match=f"{name} (is refused|cannot be read)"):
            load_weights(nn.Linear(3, 2), tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    save_file(nn.Linear(4, 2).state_dict(), tmp_path / "wide.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, words in (("wide.safetensors", "does not fit"), ("cut.safetensors", "cannot be read"),
                        ("none.pt", "no weights"), ("list.pt", "no state dict")):  # fmt: skip
        with pytest.raises(CheckpointError, match=words):
            load_weights(nn.Linear(3, 2), tmp_path / name)


def test_models_are_built_by_name() -> None:
    assert not load_model("mlp", shape=(5,), classes=3).training
    with pytest.raises(ConfigError, match="Unknown model"):
        load_model("mlpp", shape=(5,), classes=3)


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    """y = x W^T with W = ((1, 0), (0, 1)), written by hand."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weight = numpy_helper.from_array(torch.eye(2).numpy(), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2]) for name in ("x", "y")]
    graph = helper.make_graph([node], "halves", value[:1], value[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "halves.onnx")
    return tmp_path / "halves.onnx"


def test_an_onnx_model_is_attacked_as_a_black_box(onnx_file: Path) -> None:
    model = load_model(str(onnx_file))
    x, y = torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0, 0])
    assert torch.equal(model(x), x)
    record = evaluate(model, x, y, ThreatModel("inf", 0.15), quick=True)
    assert record.upper_bound
    assert record.robust == 0.5
    assert {a.access for a in record.attacks} == {"black box"}
    assert record.checks[8].verdict == "not run"
    assert record.trustworthy


def test_damaged_or_missing_onnx_files_are_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="cannot be read as ONNX"):
        OnnxModel(tmp_path / "bad.onnx")
    with pytest.raises(ConfigError, match="no ONNX file"):
        OnnxModel(tmp_path / "none.onnx")


def test_features_are_attacked_in_their_own_units() -> None:
    """A linear margin m - a.x falls by at most sum |a_j| min(eps_j, room to the wall): the known answer."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 100.0, 0.01, 10.0], dtype=torch.float64)
    low, high = torch.zeros(4, dtype=torch.float64), scale
    eps = scale * torch.tensor([0.2, 0.1, 0.3, 0.0], dtype=torch.float64)
    x = torch.rand(200, 4, generator=generator, dtype=torch.float64) * scale
    slope = torch.randn(4, generator=generator, dtype=torch.float64) / scale
    gap = (x - scale / 2) @ slope
    y = (gap < 0).long()
    found = attack_features(lambda x: torch.stack([(x - scale / 2) @ slope, torch.zeros(len(x)).to(x)], 1), x, y,
                            eps=eps, low=low, high=high)  # fmt: skip
    down = torch.where((slope > 0) == (gap > 0)[:, None], (x - low).minimum(eps), (high - x).minimum(eps))
    reach = (slope.abs() * down).sum(1)
    assert torch.equal(found.broken, reach > gap.abs())
    moved = found.adversarial - x
    assert (moved.abs() <= eps * (1 + 1e-9)).all()
    assert (moved[:, 3] == 0).all()
    assert ((found.adversarial >= low) & (found.adversarial <= high)).all()


def test_features_outside_their_box_are_refused() -> None:
    one = torch.ones(2)
    with pytest.raises(DataError, match="outside the box"):
        attack_features(lambda x: x, 2 * torch.ones(1, 2), torch.tensor([0]), eps=one, low=0 * one, high=one)
    with pytest.raises(DataError, match="at least 0"):
        attack_features(lambda x: x, torch.ones(1, 2), torch.tensor([0]), eps=-one, low=0 * one, high=one)
