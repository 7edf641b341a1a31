import json

import pytest

from holomorph.cli import exit_status
from holomorph.records.geometry import GeometryRecord


def test_the_gallery_is_drawn_and_measured(tmp_path, capsys):
    out = tmp_path / "gallery"
    arguments = ["geometry", "--data", "line", "--samples", "40", "--epochs", "6", "--out", str(out), "--quiet"]
    assert exit_status(arguments) == 0
    record = GeometryRecord.load(out / "geometry.json")
    (line,) = record.results
    assert next(model.name for model in line.models) == "holomorphic network"
    assert len(line.models) == 4
    assert line.area == pytest.approx(line.energy, rel=1e-6)
    assert all(0 <= angle <= 90 for model in line.models for angle in model.angles)
    assert (out / "line.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((out / "geometry.json").read_text())["kind"] == "geometry"
    assert "median angle" in capsys.readouterr().err


def test_an_unknown_data_set_is_refused_in_one_sentence(tmp_path, capsys):
    assert exit_status(["geometry", "--data", "moon", "--out", str(tmp_path / "g"), "--quiet"]) == 2
    assert "Did you mean 'moons'" in capsys.readouterr().err
