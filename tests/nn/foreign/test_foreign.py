"""Models that others made: their preprocessing, their weights and the names of their classes, end to end."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from holomorph.cli import BAD_INPUT, DONE, exit_status
from holomorph.contract import Guest
from holomorph.data import Splits, load_data
from holomorph.errors import CheckpointError, ConfigError, DataError
from holomorph.integrations.loading import load_model, load_weights
from holomorph.nn.classifiers import build_classifier
from holomorph.nn.foreign import Preprocessed
from holomorph.nn.foreign.preprocessing import Preprocessing
from holomorph.records.evaluation import EvaluationRecord

SHAPE = (3, 8, 8)
IMAGES = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A factory of the user's in a module of its own."""
    (tmp_path / "mine_foreign.py").write_text(
        "from torch import nn\n"
        "def make(classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(classes))\n"
        "def passed():\n"
        "    return nn.Flatten()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_preprocessing_is_what_its_formula_says():
    plan = Preprocessing(order="bgr", box=(0.0, 255.0), mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
    found = Preprocessed(nn.Identity(), plan)(IMAGES)
    wanted = (255 * IMAGES.flip(1) - torch.tensor([10.0, 20, 30]).reshape(3, 1, 1)) / torch.tensor([2.0, 4, 8]).reshape(
        3, 1, 1
    )
    torch.testing.assert_close(found, wanted)
    grey = torch.full((1, 1, 4, 4), 0.5)
    assert Preprocessed(nn.Identity(), Preprocessing(size=(8, 8), mean=(0.5, 0.5, 0.5)))(grey).shape == (1, 3, 8, 8)
    with pytest.raises(ConfigError, match=r"takes images .* with 3 channels; these have the shape"):
        Preprocessed(nn.Identity(), plan)(torch.rand(2, 12))


def test_settings_of_a_factory_stand_in_its_name_or_as_arguments(mine, caplog):
    named = build_classifier("mine_foreign:passed?mean=0.5&std=0.25&size=4", SHAPE, 2)
    given = load_model("mine_foreign:passed", shape=SHAPE, classes=2, mean="0.5", std="0.25", size=4)
    assert named(IMAGES).shape == (2, 48)
    torch.testing.assert_close(named(IMAGES), given(IMAGES))
    with caplog.at_level(logging.WARNING, "holomorph"):
        smooth = build_classifier("mine_foreign:make?activation=silu", SHAPE, 5)
    assert isinstance(smooth[1], nn.SiLU)
    assert "1 ReLU of mine_foreign:make became silu" in caplog.text
    for text, words in (
        ("mean=a", "mean is 'a'; write numbers"), ("box=1", "box is '1'"), ("std=0", "std is '0'"),
        ("size=big", "size is 'big'"), ("order=gbr", "Unknown value of order"), ("sise=3", "Did you mean 'size'"),
        ("activation=gelu", "has no ReLU among its modules"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            build_classifier(f"mine_foreign:passed?{text}", SHAPE, 2)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="There is no model at"):
        build_classifier(f"hf:{tmp_path}", SHAPE, 2)


def test_a_torch_program_is_read_trained_and_refused_when_damaged(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    path = tmp_path / "net.pt2"
    batch = torch.export.Dim("batch", min=1)
    torch.export.save(torch.export.export(net, (IMAGES,), dynamic_shapes=({0: batch},)), path)
    model = load_model(str(path), shape=SHAPE, classes=3)
    torch.testing.assert_close(Guest(model)(IMAGES), net(IMAGES))
    assert sum(p.numel() for p in model.parameters()) == 579
    with pytest.raises(ConfigError, match="holds its own weights"):
        load_model(str(path), "more.pt")
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read as a torch program"):
        load_model(str(path), shape=SHAPE, classes=3)


def test_what_has_no_gradients_is_not_trained(tmp_path, capsys, monkeypatch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper = onnx.helper
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 1, 8, 8]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "a.onnx")
    monkeypatch.chdir(tmp_path)
    assert exit_status(["train", "--data", "digits", "--model", "a.onnx", "--out", "run"]) == BAD_INPUT
    assert "a.onnx gives no gradients and cannot be trained" in capsys.readouterr().err


def test_labels_are_counted_as_the_model_counts_its_classes():
    splits = Splits.of("pets", {"test": (IMAGES, torch.tensor([0, 1]))}, (0.0, 1.0), 2, ("n01", "Tabby_cat"))
    found = splits.among([["n02", "tabby cat"], ["n03", "dog"], ["n01", "tench"]])
    assert found.y_test.tolist() == [2, 0]
    assert found.names == ("tabby cat", "dog", "tench")
    assert splits.among([]) is splits
    with pytest.raises(DataError, match=r"'Tabby_cat' is none of the 3 classes of the model\. Name them as it does"):
        splits.among([["n01"], ["n02"], ["n03"]])


def images(folder, names=("cat", "dog"), count=12):
    """Folders of colour images, their brightness the class."""
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 100, (8, 8, 3)) + 120 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return f"folder:{folder}"


@pytest.mark.slow
def test_class_names_go_from_the_folder_into_the_record_and_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = images(tmp_path / "pets", count=20)
    options = ["--threat", "inf:0.05", "--n", "8", "--epochs", "2", "--no-baseline", "--quiet", "--out", "run"]
    assert exit_status(["run", "--data", data, "--model", "cnn", *options]) == DONE
    assert EvaluationRecord.load(tmp_path / "run" / "evaluation.json").class_names == ("cat", "dog")
    page = (tmp_path / "run" / "report.html").read_text()
    assert ">cat" in page
    assert "dog" in page


def test_images_of_one_class_first_can_be_trained_on(tmp_path):
    """Their first samples show fewer classes than there are."""
    from holomorph.rules import Plain
    from holomorph.training.fit import fit

    x, y = torch.randint(0, 256, (600, 4), dtype=torch.uint8), torch.arange(600) // 200
    record = fit(nn.Linear(4, 3), (x, y), Plain(), epochs=1, validation=(x[:9] / 255.0, torch.arange(9) % 3))
    assert record.samples == 600
    sets = load_data(images(tmp_path / "a", ("a", "b", "c"), 20))
    assert sets.y_test[:9].unique().numel() == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_timm_with_weights_of_a_wrapper_is_evaluated_from_an_empty_folder(tmp_path, monkeypatch):
    timm = pytest.importorskip("timm")
    pytest.importorskip("foolbox")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = timm.create_model("resnet10t", num_classes=2)
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, "w.pt")
    model = load_model("timm:resnet10t", "w.pt", shape=SHAPE, classes=2)
    mean, std = (torch.tensor(net.pretrained_cfg[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(model(IMAGES), net.eval()((IMAGES - mean) / std))
    again = build_classifier("timm:resnet10t", SHAPE, 2)
    torch.save(model.state_dict(), "whole.pt")
    load_weights(again, "whole.pt")
    torch.testing.assert_close(again.eval()(IMAGES), model(IMAGES))
    data = images(tmp_path / "pets")
    options = ["--threat", "inf:8/255", "--quick", "--n", "4", "--quiet"]
    assert exit_status(["evaluate", "timm:resnet10t", "--weights", "w.pt", "--data", data, *options]) == DONE
    assert EvaluationRecord.load(tmp_path / "evaluation" / "evaluation.json").class_names == ("cat", "dog")
    assert build_classifier("timm:resnet10t?activation=gelu", SHAPE, 2)(IMAGES).shape == (2, 2)
    with pytest.raises(ConfigError, match="timm:resnet1800 cannot be made"):
        build_classifier("timm:resnet1800", SHAPE, 2)


@pytest.mark.slow
def test_torchvision_models_bring_their_preprocessing():
    pytest.importorskip("torchvision")
    model = build_classifier("torchvision:mobilenet_v3_small?pretrained=yes", SHAPE, 2, pretrained=False).eval()
    assert model.preprocessing.size == (224, 224)
    assert model.preprocessing.mean == (0.485, 0.456, 0.406)
    assert model(IMAGES).shape == (2, 1000)
    assert model.labels[0] == ("tench",)
    assert build_classifier("torchvision:mobilenet_v3_small", SHAPE, 2)(IMAGES).shape == (2, 2)
    with pytest.raises(ConfigError, match="torchvision:mobil cannot be made"):
        build_classifier("torchvision:mobil", SHAPE, 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_saved_model_of_transformers_brings_weights_names_and_preprocessing(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                                    image_size=8, patch_size=4, id2label={0: "cat", 1: "dog", 2: "fox"},
                                    label2id={"cat": 0, "dog": 1, "fox": 2})  # fmt: skip
    net = transformers.ViTForImageClassification(config).eval()
    net.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 8, "width": 8}, '
        '"do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true}'
    )
    model = load_model(f"hf:{tmp_path}", shape=SHAPE, classes=3)
    assert model.labels == (("cat",), ("dog",), ("fox",))
    torch.testing.assert_close(Guest(model)(IMAGES), net((IMAGES - 0.5) / 0.5).logits)
    assert Guest(build_classifier(f"hf:{tmp_path}", SHAPE, 2))(IMAGES).shape == (2, 2)
