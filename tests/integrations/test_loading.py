"""User models: factories, weights that run no code, ONNX."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from holomorph.errors import CheckpointError, ConfigError
from holomorph.evaluation.evaluate import evaluate
from holomorph.integrations.loading import load_model, load_weights
from holomorph.nn.foreign.programs import OnnxModel
from holomorph.threats import ThreatModel


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
    x, y = torch.tensor([[0.9, 0.2], [0.6, 0.4]]), torch.tensor([0, 0])
    assert torch.equal(model(x), x)
    record = evaluate(model, x, y, ThreatModel("inf", 0.15), quick=True)
    assert record.upper_bound
    assert record.robust == 0.5
    assert {a.access for a in record.attacks} == {"black box"}
    assert record.checks[8].verdict == "not run"
    assert record.trustworthy


def test_weights_beside_an_onnx_file_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"halves\.onnx holds its own weights\. Leave out other\.pt\."):
        load_model("halves.onnx", "other.pt")


def test_damaged_or_missing_onnx_files_are_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="cannot be read as ONNX"):
        OnnxModel(tmp_path / "bad.onnx")
    with pytest.raises(ConfigError, match="no ONNX file"):
        OnnxModel(tmp_path / "none.onnx")


LAYOUTS = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 1},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": {}},
    "params_ema": lambda state: {"params_ema": state},
    "model": lambda state: {"model": state, "epoch": 1},
    "net": lambda state: {"net": state, "acc": 0.9},
    "DataParallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "both": lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
    "Lightning": lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}, "epoch": 1},
    "nested": lambda state: {"model": {"state_dict": state}},
    "averaged": lambda state: {"n_averaged": torch.ones(()), **{f"module.{key}": v for key, v in state.items()}},
    "its own": lambda state: {"loss.weight": torch.ones(3), **{f"backbone.{key}": v for key, v in state.items()}},
    "with a teacher": lambda state: {f"{p}.{k}": v + (p == "teacher") for p in ("teacher", "model")
                                     for k, v in state.items()},
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_in_the_layouts_that_training_scripts_leave(layout, tmp_path, caplog):
    source, target = nn.Sequential(nn.Linear(5, 3)), nn.Sequential(nn.Linear(5, 3))
    torch.save(LAYOUTS[layout](source.state_dict()), tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert torch.equal(source[0].weight, target[0].weight)
    assert ("were read without their beginning" in caplog.text) == (
        layout in ("DataParallel", "compiled", "both", "Lightning", "averaged", "its own", "with a teacher")
    )


def test_of_two_networks_of_one_form_none_is_guessed(tmp_path):
    state = nn.Linear(5, 3).state_dict()
    torch.save({f"{p}.{k}": v for p in ("student", "teacher") for k, v in state.items()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="does not fit the model"):
        load_weights(nn.Linear(5, 3), tmp_path / "w.pt")
