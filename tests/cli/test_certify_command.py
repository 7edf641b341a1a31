"""``holomorph certify`` on a real run."""

import json

import pytest

from holomorph.cli import BAD_INPUT, DONE, exit_status
from holomorph.records.certificate import CertificateRecord


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "a"
    options = ["--data", "digits", "--model", "mlp", "--rule", "plain", "--epochs", "1", "--no-baseline", "--quiet"]
    assert exit_status(["train", *options, "--threat", "inf:0.01", "--out", str(path)]) == DONE
    return path


def test_certify_writes_the_record_into_the_run_and_the_report_shows_it(run, capsys):
    options = ["--n", "12", "--steps", "2", "--quiet"]
    assert exit_status(["certify", str(run), *options]) == DONE
    record = CertificateRecord.load(run / "certificate.json")
    assert (record.samples, record.method, str(record.threats[0].threat)) == (12, "auto", "inf:0.01")
    assert f"Proved at inf:0.01: {100 * record.threats[0].proved:.1f} %" in capsys.readouterr().err
    assert not (run / "certificate.parts").exists()
    assert exit_status(["report", str(run)]) == DONE
    assert 'id="certificate"' in (run / "report.html").read_text()


def test_smoothing_by_the_command(run, tmp_path, capsys):
    out = tmp_path / "smooth"
    options = ["--method", "smoothing", "--threat", "2:0.25", "--sigma", "0.1", "--draws", "200", "--n", "3"]
    assert exit_status(["certify", str(run), *options, "--out", str(out), "--quiet"]) == DONE
    assert json.loads((out / "certificate.json").read_text())["smoothing"]["draws"] == 200
    assert "under noise of 0.1" in capsys.readouterr().err


def test_what_the_command_refuses(run, tmp_path, capsys):
    assert exit_status(["certify", str(run), "--method", "line", "--quiet"]) == BAD_INPUT
    assert "Did you mean 'lines'" in capsys.readouterr().err
    assert exit_status(["certify", str(tmp_path / "none")]) == BAD_INPUT
    assert "neither a run folder" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert exit_status(["certify", str(run), "--out", str(tmp_path / "file")]) == BAD_INPUT
    assert "is a file. Name a folder." in capsys.readouterr().err
