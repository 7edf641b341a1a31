"""``holomorph export``: what is written is read back and predicts the same."""

import numpy as np
import pytest
import torch

from holomorph.cli import BAD_INPUT, DONE, exit_status
from holomorph.data import load_data as load_data
from holomorph.integrations.export import export
from holomorph.training.load import load


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = ["--data", "digits", "--model", "mlp", "--rule", "nfgsm", "--epochs", "1", "--no-baseline", "--quiet"]
    assert exit_status(["train", *options, "--out", str(folder)]) == DONE
    return folder


def test_weights_are_written_with_a_card(run, capsys):
    assert exit_status(["export", str(run), "--to", "safetensors"]) == DONE
    assert "of 64 test samples correct" in capsys.readouterr().err
    card = (run / "export" / "model-card.md").read_text()
    assert card.startswith("# Model card: mlp on digits, trained by nfgsm\n\nThis model has not been attacked yet.")
    assert "`model.safetensors` was read back" in card
    assert "every input value may change by up to 0.1" in card


@pytest.mark.slow
def test_programs_take_batches_of_any_size(run, tmp_path):
    x = load_data("digits").x_test[:7]
    with torch.no_grad():
        expected = load(run).model(x)
    program = torch.export.load(export(run, "pt2", tmp_path).path).module()
    assert torch.allclose(program(x), expected, atol=1e-5)
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    session = runtime.InferenceSession(str(export(run, "onnx", tmp_path).path))
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert np.allclose(found, expected.numpy(), atol=1e-4)


def test_what_cannot_be_exported_is_refused(run, tmp_path, capsys):
    assert exit_status(["export", str(tmp_path), "--to", "pt2"]) == BAD_INPUT
    assert exit_status(["export", str(run), "--to", "tflite"]) == BAD_INPUT
    assert "tflite" in capsys.readouterr().err
