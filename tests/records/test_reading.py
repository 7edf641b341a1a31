import json

import pytest

from holomorph.errors import ConfigError, DataError
from holomorph.records.base import Interval
from holomorph.records.evaluation import EvaluationRecord
from holomorph.records.reading import KINDS, read, read_folder
from holomorph.records.training import TrainRecord


def a_run() -> TrainRecord:
    return TrainRecord(
        model="mlp", parameters=1, samples=1, rule="plain", rule_settings={}, seed=0, epochs=1, batch_size=1,
        optimizer="adam", lr=0.1, weight_decay=0.0, history=(), seconds=1.0, cost=1.0,
    )  # fmt: skip


def an_evaluation() -> EvaluationRecord:
    half = Interval(value=0.5, low=0.4, high=0.6)
    return EvaluationRecord(
        model="mlp", samples=1, classes=2, seed=0, clean=0.5, clean_interval=half, robust=0.5, robust_interval=half,
        threats=(), attacks=(),
    )  # fmt: skip


def test_a_folder_gives_its_records_in_the_order_of_their_kinds(tmp_path):
    found, run = an_evaluation(), a_run()
    found.save(tmp_path / "evaluation.json")
    run.save(tmp_path / "train.json")
    (tmp_path / "config.json").write_text('{"kind": "something else"}')
    (tmp_path / "notes.json").write_text("[1, 2]")
    assert read_folder(tmp_path) == [run, found.sealed()]


def test_every_kind_names_a_class_of_that_kind():
    import importlib

    for kind, (module, name) in KINDS.items():
        assert kind == getattr(importlib.import_module(module), name).KIND


def test_missing_folders_and_records_are_said(tmp_path):
    with pytest.raises(DataError, match=r"There is no run folder at .*nowhere"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="There are no records in"):
        read_folder(tmp_path)
    with pytest.raises(DataError, match="There is no record at"):
        read(tmp_path / "train.json")


def test_truncated_records_are_said(tmp_path):
    path = a_run().save(tmp_path / "train.json")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"train\.json cannot be read as JSON"):
        read_folder(tmp_path)


def test_unknown_kinds_and_files_that_are_no_records_are_said(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"kind": "trainin"}))
    with pytest.raises(ConfigError, match=r"Unknown kind of record 'trainin'\. Did you mean 'training'"):
        read(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(DataError, match="states no kind"):
        read(tmp_path / "b.json")


def test_a_record_with_a_figure_of_the_wrong_type_is_refused(tmp_path):
    path = a_run().save(tmp_path / "train.json")
    path.write_text(path.read_text().replace('"parameters": 1', '"parameters": "many"'))
    with pytest.raises(DataError, match="holds no training record that this version can read: parameters"):
        read(path)
