"""Every study can be started, and every page about one quotes values that lie beside it."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.relative_to(ROOT) for path in (ROOT / "studies").rglob("*.py"))
PAGES = sorted((ROOT / "studies").glob("*/README.md"))


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_every_script_finds_all_that_it_names(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    name = ".".join(script.with_suffix("").parts)
    module = importlib.import_module(name)
    assert module.__doc__
    assert name in sys.modules


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_page_says_what_is_claimed_by_which_command_and_what_speaks_against_it(page: Path) -> None:
    text = page.read_text()
    assert "**Claim.**" in text
    assert f"python -m studies.{page.parent.name}" in text
    assert "## What speaks against it" in text
    assert len(text.split()) < 1000, "a page"
    assert (page.parent / "summary.csv").is_file()


def test_the_tree_holds_no_results_a_sample() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no checkout")
    texts = [ROOT / name for name in listed.stdout.splitlines() if not name.endswith(".png")]
    lines = sum(path.read_bytes().count(b"\n") for path in texts if path.is_file())
    assert lines < 60_000, f"{lines} lines of text are tracked; what a command can make again stays out of the tree"
