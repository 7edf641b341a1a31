"""``holomorph check`` as a gate, and the report in Markdown, on records made by hand."""

import pytest

import hand_made as cases
from holomorph.cli import BAD_INPUT, CHECK_FAILED, DONE, exit_status


@pytest.fixture
def run(tmp_path):
    cases.evaluation(robust=0.5).save(tmp_path / "evaluation.json")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--min-robust", "0.5"], DONE),
        (["--min-robust", "0.51"], CHECK_FAILED),
        (["--min-clean", "0.97"], DONE),
        (["--min-robust", "0.1", "--min-clean", "0.99"], CHECK_FAILED),
        ([], BAD_INPUT),
        (["--min-robust", "50"], BAD_INPUT),
    ],
)
def test_the_gate_opens_for_enough_accuracy_only(run, options, status):
    assert exit_status(["check", str(run), *options]) == status


def test_the_gate_says_why_it_stays_closed(run, capsys):
    failed = cases.check(8, "zero gradients", "fail", "99 % of the gradients are zero.")
    cases.evaluation(robust=0.5, quick=True, checks=(failed,)).save(run / "evaluation.json")
    assert exit_status(["check", str(run), "--min-robust", "0.6"]) == CHECK_FAILED
    said = capsys.readouterr().err
    assert "The robust accuracy is 50.0 %, less than the 60.0 % asked for." in said
    assert "The check 'zero gradients' failed. 99 % of the gradients are zero." in said
    assert "The evaluation was a quick look." in said
    cases.evaluation(robust=0.5, quick=True).save(run / "evaluation.json")
    assert exit_status(["check", str(run), "--min-robust", "0.4", "--allow-quick"]) == DONE


def test_no_evaluation_is_bad_input(tmp_path, capsys):
    assert exit_status(["check", str(tmp_path), "--min-robust", "0.5"]) == BAD_INPUT
    assert "There is no record at" in capsys.readouterr().err


def test_the_report_in_markdown_goes_to_standard_output_or_a_file(run, capsys):
    assert exit_status(["report", str(run), "--format", "xml"]) == BAD_INPUT
    assert exit_status(["report", str(run), "--format", "md"]) == DONE
    printed = capsys.readouterr().out
    assert printed.startswith("# runs/first on digits\n\n50 % of 360 samples")
    assert "| robust accuracy, l∞ ≤ 0.1 | 50 % | 44.8 to 55.2 % | 3.1 % |" in printed
    assert not (run / "report.html").exists()
    assert exit_status(["report", str(run), "--format", "md", "--out", str(run / "deep")]) == DONE
    assert (run / "deep" / "report.md").read_text(encoding="utf-8") == printed
