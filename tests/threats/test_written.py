"""What may change in a table, as a person writes it, from the text to the report of a run."""

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from holomorph.cli import app
from holomorph.contract.threats import as_threat
from holomorph.errors import ConfigError, DataError, HolomorphError
from holomorph.records.evaluation import EvaluationRecord
from holomorph.threats.written import written_features
from holomorph.training.load import load

COLUMNS = ("income", "claims", "city=Oslo", "city=Rome")
ROWS = torch.tensor([[900.0, 0, 1, 0], [9e6, 9, 0, 1]])
TEXT = "income=500 down, claims = 2 whole"


@pytest.mark.parametrize("text", [TEXT, "\nincome=5e2 down\n\nclaims=2 whole\n", "file"])
def test_columns_by_name_each_in_its_own_unit(text, tmp_path):
    if text == "file":
        (tmp_path / "features.txt").write_text(TEXT.replace(", ", "\n"))
        text = str(tmp_path / "features.txt")
    found = written_features(text, COLUMNS, ROWS)
    assert found.eps.tolist() == [500, 2, 0, 0]
    assert found.direction.tolist() == [-1, 0, 0, 0]
    assert found.whole.tolist() == [False, True, False, False]
    assert found.groups.tolist() == [0, 0, 1, 1]
    assert (found.low.tolist(), found.high.tolist()) == ([900, 0, 0, 0], [9e6, 9, 1, 1])
    assert as_threat(found.threat("inf:1")).radius == 1, "a long range is no reason to warn of a small eps"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [("income=much", ConfigError, "Cannot read the feature 'income=much'"),
     ("income=1-1", ConfigError, "Cannot read"), ("income=1 sideways", ConfigError, "then up, down or whole"),
     ("income=1, income=2", ConfigError, "'income=2' contradicts another"),
     ("income=1 up down", ConfigError, "contradicts another or itself"),
     ("incone=1", ConfigError, "Did you mean 'income'"), ("income=-1", DataError, "at least 0"),
     ("nothing.txt", DataError, "no text file nothing.txt"), ("x" * 300, DataError, "no text file"),
     ("n.npz", DataError, "no file n.npz"), ("income=0", DataError, "one of them positive")],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_a_sentence(text, error, words):
    with pytest.raises(error, match=words):
        written_features(text, COLUMNS, ROWS)
    with pytest.raises(HolomorphError):
        written_features(text, (), ROWS)


@pytest.mark.slow
def test_a_run_is_trained_attacked_and_reported_within_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0)
    table = pd.DataFrame({"income": draws.uniform(900, 9000, 300).round(), "claims": draws.integers(0, 10, 300),
                          "city": draws.choice(["Rome", "Oslo"], 300)})  # fmt: skip
    table.assign(label=np.where(table.income > 900 * table.claims, "good", "bad")).to_csv("a.csv", index=False)
    asked = ["run", "--data", "csv:a.csv", "--features", TEXT, "--epochs", "4", "--out", "r", "--n", "20", "--quiet"]
    with_reports = [[*asked, "--prove", "2"], ["train", *asked[1:9], "--resume", "--quiet"], ["audit", "r"],
                    ["evaluate", "r", "--threat", "inf:0.5", "--quick", "--out", "e", "--quiet"]]  # fmt: skip
    for command in with_reports:
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    whole, half = (EvaluationRecord.load(f"{out}/evaluation.json") for out in "re")
    assert str(whole.threats[0].threat) == "inf:1"
    assert whole.features.eps == half.features.eps == (500, 2, 0, 0)
    assert whole.robust < whole.clean
    assert load("r").model(ROWS).shape == (2, 2), "rows in the table's own units"
