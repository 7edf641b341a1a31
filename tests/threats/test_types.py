import json
import math

import numpy as np
import pytest
import torch

from holomorph._utils.io import write_atomically
from holomorph.contract import check_batch
from holomorph.errors import ConfigError, DataError, StorageError, unknown_name
from holomorph.records.base import Record
from holomorph.records.training import TrainRecord
from holomorph.threats import ThreatModel


class Dummy(Record):
    KIND = "dummy"
    value: float


def test_eps_is_kept_as_the_fraction_it_was_given_as():
    threat = ThreatModel("inf", "8/255")
    assert threat.eps == "8/255"
    assert threat.radius == 8 / 255
    assert ThreatModel.model_validate_json(threat.model_dump_json()) == threat
    assert str(threat) == "inf:8/255"


@pytest.mark.parametrize(
    ("written", "norm", "q"), [("inf", "inf", 1), (math.inf, "inf", 1), ("l2", "2", 2), (2, "2", 2), (1, "1", math.inf)]
)
def test_every_way_to_write_a_norm(written, norm, q):
    threat = ThreatModel(written, 0.1)
    assert threat.norm == norm
    assert threat.q == q


@pytest.mark.parametrize(
    ("norm", "eps", "box", "message"),
    [
        ("3", 0.1, (0, 1), "Unknown norm '3'. Use inf, 2 or 1."),
        ("inf", 0, (0, 1), "eps must be positive and finite, not 0.0."),
        ("inf", "-1/2", (0, 1), "eps must be positive and finite, not -1/2."),
        ("inf", "a", (0, 1), "eps 'a' is not a number or a fraction such as 8/255."),
        ("inf", "1/0", (0, 1), "eps '1/0' is not a number or a fraction such as 8/255."),
        ("inf", 8, (0, 1), "eps 8.0 exceeds the box [0, 1]"),
        ("inf", 0.1, (1, 0), "The box [1, 0] is empty or unbounded."),
        ("inf", 0.1, (0, math.inf), "The box [0, inf] is empty or unbounded."),
    ],
)
def test_a_threat_that_cannot_be_is_refused(norm, eps, box, message):
    with pytest.raises(ConfigError) as error:
        ThreatModel(norm, eps, box)
    assert message in str(error.value)


def test_threats_are_read_from_text():
    assert [str(t) for t in ThreatModel.parse_many("inf:8/255, l2:0.5")] == ["inf:8/255", "2:0.5"]
    with pytest.raises(ConfigError, match="Write NORM:EPS"):
        ThreatModel.parse("0.1")


def test_a_threat_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        ThreatModel("inf", 0.1).eps = 0.2


def test_records_survive_the_file_and_refuse_others(tmp_path):
    path = Dummy(value=math.inf).save(tmp_path / "deep" / "dummy.json")
    assert Dummy.load(path) == Dummy(value=math.inf)
    assert json.loads(path.read_text())["kind"] == "dummy"
    with pytest.raises(DataError, match="holds no training record that this version can read"):
        TrainRecord.load(path)
    path.write_text(path.read_text()[:10])
    with pytest.raises(DataError, match="holds no dummy record"):
        Dummy.load(path)
    with pytest.raises(DataError, match="There is no record at"):
        Dummy.load(tmp_path / "none.json")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match=r"is a folder\. Name a file"):
        Dummy(value=1).save(tmp_path)
    with pytest.raises(DataError, match="is a folder, not a record"):
        Dummy.load(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "a", b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(StorageError, match="disk full"):
        write_atomically(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(0, 2), "There are no samples."),
        (torch.zeros(1, 2, dtype=torch.int64), "gradients need floating point"),
        (torch.tensor([[math.nan]]), "NaN or infinite"),
        (torch.tensor([[0.0, 255.0]]), "Divide 8-bit images by 255, or state the box of the data."),
        (torch.tensor([[-0.5, 1.0]]), "range over [-0.5, 1], outside the box [0, 1]"),
    ],
)
def test_unusable_samples_are_refused(x, message):
    with pytest.raises(DataError) as error:
        check_batch(x, box=(0.0, 1.0))
    assert message in str(error.value)


def test_rounding_just_outside_the_box_passes():
    check_batch(torch.tensor([[-3e-8, 1 + 1e-7]]), box=(0.0, 1.0))


def test_labels_must_be_as_many_as_samples():
    with pytest.raises(DataError, match="There are 2 samples but 3 labels"):
        check_batch(torch.zeros(2, 1), torch.zeros(3))


def test_arrays_are_no_tensors():
    with pytest.raises(DataError, match=r"The samples are ndarray, not a tensor\. Convert them"):
        check_batch(np.zeros((2, 1)), torch.zeros(2))
    with pytest.raises(DataError, match="The labels are ndarray, not a tensor"):
        check_batch(torch.zeros(2, 1), np.zeros(2))


def test_unknown_names_without_a_near_one():
    assert str(unknown_name("rule", "xyzzy", ["b", "a"])) == "Unknown rule 'xyzzy'. Known: a, b."
