import gzip
import struct

import numpy as np
import pytest
import torch

from holomorph.contract import check_labels
from holomorph.data import SOURCES, Splits, load_data
from holomorph.data.sources import fashion
from holomorph.errors import ConfigError, DataError


def write_idx(folder, compress, n=(5010, 10)):
    generator = np.random.default_rng(0)
    for part, count in zip(("train", "t10k"), n, strict=True):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            content = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
            path = folder / (name + (".gz" if compress else ""))
            path.write_bytes(gzip.compress(content, 1) if compress else content)


def npz(path, **changes):
    x = np.random.default_rng(0).normal(size=(20, 3))
    arrays = {"x_train": x, "y_train": np.arange(20) % 2, "x_test": x[:5], "y_test": np.arange(5) % 2, **changes}
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return f"npz:{path}"


def test_digits_are_split_by_class_always_the_same_way():
    one, two = load_data("digits"), load_data("digits")
    assert torch.equal(one.x_train, two.x_train)
    assert [len(one.part(p)[0]) for p in ("train", "val", "test")] == [1077, 360, 360]
    for part in ("train", "val", "test"):
        x, y = one.part(part)
        shares = torch.bincount(y) / len(y)
        assert (shares - 0.1).abs().max() < 0.01
        assert x.min() >= 0
        assert x.max() <= 1


@pytest.mark.parametrize("compress", [True, False])
def test_fashion_mnist_from_idx_files(tmp_path, compress):
    write_idx(tmp_path, compress)
    splits = load_data("fashion-mnist", data_dir=tmp_path)
    assert splits.shape == (1, 28, 28)
    assert [len(splits.part(p)[0]) for p in ("train", "val", "test")] == [10, 5000, 10]
    assert splits.y_train.tolist() == list(range(10))


def test_missing_files_name_all_three_ways(tmp_path):
    with pytest.raises(DataError, match=r"dataset-fashion-mnist.*--data-dir FOLDER.*fetch_openml"):
        load_data("fashion-mnist", data_dir=tmp_path)


def test_a_failed_download_names_all_three_ways(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion, "DEBIAN", tmp_path)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_, **__: (_ for _ in ()).throw(OSError("no route")))
    with pytest.raises(DataError, match=r"Fashion-MNIST was not found.*--data-dir FOLDER.*no route"):
        load_data("fashion-mnist")


def test_a_truncated_file_is_refused(tmp_path):
    write_idx(tmp_path, compress=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="is not a whole IDX file"):
        load_data("fashion-mnist", data_dir=tmp_path)


def test_npz_of_any_shape_takes_the_box_from_the_data(tmp_path):
    splits = load_data(npz(tmp_path / "a.npz"))
    assert splits.shape == (3,)
    assert splits.box == (float(min(splits.x_train.min(), splits.x_val.min())),
                          float(max(splits.x_train.max(), splits.x_val.max())))  # fmt: skip
    assert len(splits.x_train) + len(splits.x_val) == 20


@pytest.mark.parametrize(
    ("changes", "box", "message"),
    [
        ({"y_test": None}, None, "lacks y_test, though it has x_test. Give samples and labels."),
        (
            {"x_train": None, "y_train": None, "x_test": None, "y_test": None},
            None,
            "lacks samples. It must hold x_train",
        ),
        ({"names": np.array(["a"])}, None, "has 2 classes but 1 names"),
        ({"x_train": np.full((20, 3), np.nan)}, None, "NaN or infinite"),
        ({"x_train": np.array([["a"] * 3] * 20)}, None, "are not numbers"),
        ({"y_train": np.arange(20) / 2}, None, "must be whole numbers 0..K-1"),
        ({"y_train": np.arange(19) % 2}, None, "x_train has 20 samples but y_train has 19 labels"),
        ({"x_test": np.zeros((0, 3)), "y_test": np.zeros(0, int)}, None, "x_test is empty"),
        ({"y_train": np.zeros(20, int)}, None, "there is one class only"),
        ({"y_train": np.ones(20, int)}, None, "All labels are 1: there is one class only"),
        ({"y_train": np.arange(20) % 3 + 1}, None, "They seem to start at 1: subtract 1."),
        ({"y_train": np.arange(20) % 3 * 1000000}, None, "has the label 1. Number the classes 0..2."),
        ({"x_train": np.zeros(20)}, None, "x_train has the shape (20,). Give one row a sample"),
        ({"y_test": np.zeros((5, 1), int)}, None, "y_test has the shape (5, 1). Give one label a sample"),
        ({"x_train": np.zeros((1, 3)), "y_train": np.array([1])}, None, "there is one class only"),
        ({"y_train": np.arange(20) % 2 - 1}, None, "The labels run from -1 to 0"),
        ({"y_test": np.arange(5)}, None, "The labels run from 0 to 4; they must lie in 0..1."),
        ({"x_test": np.zeros((5, 4))}, None, "The test samples have shape (4,), the others (3,)."),
        ({"x_train": np.full((20, 3), 200.0)}, (0.0, 1.0), "Divide 8-bit images by 255, or state the box of the data."),
    ],
)
def test_an_unusable_npz_is_refused(tmp_path, changes, box, message):
    with pytest.raises(DataError) as error:
        load_data(npz(tmp_path / "a.npz", **changes), box=box)
    assert message in str(error.value)


def test_an_npz_with_pickled_objects_is_not_opened(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="cannot be read as an npz file of plain arrays"):
        load_data(f"npz:{tmp_path / 'a.npz'}")


def test_a_missing_npz_and_an_unknown_name():
    with pytest.raises(DataError, match=r"There is no file nowhere\.npz\."):
        load_data("npz:nowhere.npz")
    with pytest.raises(ConfigError, match=r"Unknown data set 'digit'\. Did you mean 'digits'\?"):
        load_data("digit")


def test_labels_that_start_at_one_get_a_hint():
    with pytest.raises(DataError, match="They seem to start at 1: subtract 1"):
        check_labels(torch.tensor([1, 2, 3]), classes=3)
    with pytest.raises(DataError, match=r"one whole number 0..K-1 a sample"):
        check_labels(torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_splits_widen_their_labels(dtype):
    x, y = torch.rand(4, 2), torch.tensor([0, 1, 0, 1], dtype=dtype)
    assert Splits("a", x, y, x, y, x, y, (0.0, 1.0), 2).y_val.dtype == torch.int64


def test_splits_check_every_part():
    x, y = torch.rand(4, 2), torch.tensor([0, 1, 0, 1])
    with pytest.raises(DataError, match="outside the box"):
        Splits("a", x, y, x, y, x + 1, y, (0.0, 1.0), 2)


def test_every_source_says_how_it_is_written(tmp_path):
    """What takes a path asks for one, what takes none refuses it, and an unknown setting is named."""
    for name, source in SOURCES.items():
        if source.takes_path:
            with pytest.raises(ConfigError, match=f"The data set '{name}' needs a path: write {name}:PATH"):
                load_data(name)
            with pytest.raises(DataError, match=r"There is no(thing at| file) "):
                load_data(f"{name}:{tmp_path / 'none'}")
            with pytest.raises(ConfigError, match=f"Unknown setting of the data set '{name}' 'colour'"):
                load_data(f"{name}:{tmp_path}?colour=red")
            with pytest.raises(ConfigError, match=r"Cannot read the settings 'a&b'\. Write them as setting=value"):
                load_data(f"{name}:{tmp_path}?a&b")
        else:
            with pytest.raises(ConfigError, match=f"The data set '{name}' takes no path"):
                load_data(f"{name}:{tmp_path}")
    with pytest.raises(ConfigError, match=r"Unknown data set 'fodler'\. Did you mean 'folder:PATH'\?"):
        load_data("fodler:here")


def test_npz_with_a_test_part_alone_is_enough_to_evaluate(tmp_path):
    found = load_data(npz(tmp_path / "a.npz", x_train=None, y_train=None, names=np.array(["no", "yes"])))
    assert len(found.part("test")[0]) == 5
    assert found.names == ("no", "yes")
    assert found.shape == (3,)
    with pytest.raises(DataError, match=r"The data set npz:.*a\.npz has no train samples\."):
        found.part("train")


def test_uint8_stays_in_memory_and_becomes_floating_point_in_the_box(tmp_path):
    x = np.arange(40, dtype=np.uint8).reshape(20, 2) * 6
    for box in (None, (-1.0, 1.0)):
        found = load_data(npz(tmp_path / "a.npz", x_train=x, x_test=x[:5]), box=box)
        assert found.x_train.dtype == torch.uint8
        low, high = found.box
        assert found.box == (box or (0.0, 1.0))
        torch.testing.assert_close(found.part("test")[0], low + (high - low) * torch.from_numpy(x[:5]).float() / 255)


def test_missing_parts_are_split_by_class(tmp_path):
    y = np.array([0] * 50 + [1] * 150)
    found = load_data(npz(tmp_path / "a.npz", x_train=np.random.default_rng(1).random((200, 3)), y_train=y))
    assert [len(found.part(p)[0]) for p in ("train", "val")] == [180, 20]
    assert torch.bincount(found.y_val).tolist() == [5, 15]
