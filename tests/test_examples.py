"""Every example runs and does what it shows."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_fine_tuning_makes_a_network_robust():
    before, after = runpy.run_path(str(EXAMPLES / "fine_tuning.py"))["main"]()
    assert before >= 0.2
    assert after >= 0.62


@pytest.mark.slow
def test_two_processes():
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "two_processes.py")], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 processes; right under PGD: 0." in done.stdout


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"fine_tuning", "two_processes"}
