"""``holomorph explain`` and ``holomorph transfer`` on real run folders."""

import pytest

from holomorph.cli import BAD_INPUT, DONE, exit_status
from holomorph.records.explanation import ExplanationRecord
from holomorph.records.transfer import TransferRecord


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    paths = [folder / "a", folder / "b"]
    for seed, path in enumerate(paths):
        options = ["--data", "digits", "--model", "mlp", "--rule", "plain", "--epochs", "1", "--quiet"]
        assert exit_status(["train", *options, "--seed", str(seed), "--out", str(path)]) == DONE
    return paths


def test_explain_writes_the_record_into_the_run(runs, capsys):
    assert exit_status(["explain", str(runs[0]), "--n", "24", "--steps", "10", "--quiet"]) == DONE
    record = ExplanationRecord.load(runs[0] / "explanation.json")
    assert record.samples == 24
    assert record.boundary is not None
    said = capsys.readouterr().err
    assert f"{record.margins.agreements[1].spearman.value:.3f}" in said
    assert exit_status(["report", str(runs[0])]) == DONE
    assert 'id="explanation"' in (runs[0] / "report.html").read_text()


def test_explain_measures_some_parts_only(runs, tmp_path):
    out = tmp_path / "explanation"
    options = ["--n", "24", "--only", "energies, boundary", "--out", str(out), "--quiet"]
    assert exit_status(["explain", str(runs[0]), *options]) == DONE
    record = ExplanationRecord.load(out / "explanation.json")
    assert record.energies is not None
    assert record.boundary is not None
    assert record.margins is None


def test_transfer_between_two_runs(runs, tmp_path):
    out = tmp_path / "transfer"
    options = ["--threat", "inf:0.05,inf:0.1", "--n", "12", "--steps", "2", "--out", str(out), "--quiet"]
    assert exit_status(["transfer", *map(str, runs), *options]) == DONE
    record = TransferRecord.load(out / "transfer.json")
    assert record.models == tuple(map(str, runs))
    assert {a.eps for a in record.attacked} == {0.05, 0.1}


def test_what_the_commands_refuse(runs, tmp_path, capsys):
    assert exit_status(["transfer", str(runs[0]), str(tmp_path)]) == BAD_INPUT
    assert "no run folder" in capsys.readouterr().err
    assert exit_status(["transfer", str(runs[0])]) == BAD_INPUT
    assert "two models" in capsys.readouterr().err
    assert exit_status(["transfer", *map(str, runs), "--threat", "inf:0.1,2:1"]) == BAD_INPUT
    assert "one norm" in capsys.readouterr().err
    for command in (["explain", str(runs[0])], ["transfer", *map(str, runs)]):
        for option in ("--n", "--steps"):
            assert exit_status([*command, option, "-1"]) == BAD_INPUT
            assert f"Invalid value for '{option}'" in capsys.readouterr().err
