"""Every example runs and does what it shows."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

#: What each main() returns must be at least this; plainly trained networks keep at most 0.55 of the digits.
LEAST = {"plain_loop": 0.65, "fine_tuning": (0.2, 0.62), "lightning_trainer": 0.65}


@pytest.mark.parametrize("name", LEAST)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning")
@pytest.mark.filterwarnings("ignore:.*isinstance.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_example(name):
    found = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()
    least = LEAST[name]
    pairs = zip(found, least, strict=True) if isinstance(least, tuple) else [(found, least)]
    assert all(value >= bound for value, bound in pairs), found


def test_two_processes():
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "two_processes.py")], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 processes; right under PGD: 0." in done.stdout


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*LEAST, "two_processes"}
