"""What people read is true: links lead somewhere, commands can be typed, the first example prints what it says."""

import ast
import contextlib
import importlib
import io
import re
import shlex
from pathlib import Path
from textwrap import dedent

import pytest
import typer

from holomorph.cli import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
OUTSIDE = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "studies").rglob("*.md"))]
PAGES = [*OUTSIDE, *sorted((ROOT / "docs").rglob("*.md"))]  # mkdocs itself checks the links of docs/

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    found = re.findall(r"^ *```(.*)\n((?:.*\n)*?) *```$", page.read_text(), re.MULTILINE)
    return [dedent(block) for language, block in found if language in languages]


def commands(page: Path) -> list[list[str]]:
    """Every command of ours on a page, as arguments."""
    lines = "\n".join(blocks(page, "sh", "console", "")).replace("\\\n", " ").splitlines()
    ours = [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("holomorph ")]
    return [shlex.split(line, comments=True)[1:] for line in ours]


def test_the_readme_is_short_and_begins_with_code() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) < 120
    assert lines.index("```python") < 12


@pytest.mark.parametrize("page", OUTSIDE, ids=NAMES[: len(OUTSIDE)])
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert [t for t in targets if "://" not in t and not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_have_these_options_and_code_can_be_read(page: Path) -> None:
    group = typer.main.get_command(app)
    for name, *arguments in commands(page):
        command = group.commands[name]  # type: ignore[attr-defined]
        assert command.make_context(name, arguments).info_name == name  # a wrong option raises
    assert all(ast.parse(block).body for block in blocks(page, "python") if ">>>" not in block)


def test_commands_are_found_and_wrong_ones_are_not_let_pass(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nholomorph run --data digits \\\n    --unheard of  # a remark\n```\n")
    assert commands(page) == [["run", "--data", "digits", "--unheard", "of"]]
    with pytest.raises(Exception, match="No such option: --unheard"):
        test_commands_have_these_options_and_code_can_be_read(page)
    assert sum(len(commands(p)) for p in PAGES) > 30


@pytest.mark.slow
def test_the_first_example_prints_what_the_readme_says() -> None:
    """Up to four points: how many samples a quick evaluation takes depends on the speed of the machine."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(blocks(README, "python")[0], {})
    said = next(block for block in blocks(README, "") if "still correct" in block)
    assert re.sub(r"\d+", "", printed.getvalue()) == re.sub(r"\d+", "", said)
    pairs = zip(re.findall(r"\d+", printed.getvalue()), re.findall(r"\d+", said), strict=True)
    assert all(abs(int(found) - int(stated)) <= 4 for found, stated in pairs)


def _resolves(name: str) -> bool:
    """Whether a dotted name is a module, or is found in the longest module that its beginning names."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        return all((found := getattr(found, part, None)) is not None for part in parts[end:])
    return False


def test_every_name_that_a_text_or_a_message_gives_is_there() -> None:
    texts = [*ROOT.glob("src/**/*.py"), *ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    given = {
        name for text in texts for name in re.findall(r"(?<![\w/.@-])holomorph\.[A-Za-z_][\w.]*\w", text.read_text())
    }
    assert len(given) > 300
    assert not [name for name in given - {"holomorph.progress"} if not _resolves(name)], "but for a logger's name"
