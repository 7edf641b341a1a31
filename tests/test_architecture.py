"""The house is as its map says: imports point downward, files are short, the page names every package."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer

import holomorph as hm
from holomorph.cli import app

PACKAGE = Path(hm.__file__).parent
ROOT = PACKAGE.parents[1]
FILES = sorted(PACKAGE.rglob("*.py"))

#: From the ground up; what stands in one row may not import its neighbours.
FLOORS = (
    {"errors"},
    {"_utils"},
    {"threats"},
    {"records"},
    {"contract"},
    {"calculus"},
    {"nn"},
    {"enclosures"},
    {"rules", "attacks", "data"},
    {"exact"},
    {"certification"},
    {"evaluation"},
    {"explanation", "reporting"},
    {"transferability", "research"},
    {"training"},
    {"comparison", "sklearn", "integrations"},
    {"cli"},
)
LEVEL = {name: number for number, names in enumerate(FLOORS) for name in names}


def imports(path: Path) -> set[str]:
    """Our packages that a file imports when it is itself imported; imports for type checkers do not count."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("holomorph"):
            names = [node.module] if node.module != "holomorph" else [f"holomorph.{a.name}" for a in node.names]
            found.update(name.split(".")[1] for name in names if "." in name)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def home(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_package_has_its_floor() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} | {"errors"}
    assert packages == set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward(path: Path) -> None:
    if home(path) in LEVEL:
        floor = LEVEL[home(path)]
        upward = {name for name in imports(path) - {home(path)} if LEVEL[name] >= floor}
        assert not upward, f"{path.relative_to(PACKAGE)} imports what stands beside or above it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_the_map_names_every_package_and_nothing_else() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    assert named == set(LEVEL)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_paths_that_a_page_names_are_there(page: str) -> None:
    named = set(re.findall(r"[`(]((?:src|tests|docs|studies)/[\w/.]+)[`)]", (ROOT / page).read_text()))
    named |= {f"src/holomorph/{path}" for path in re.findall(r"`(\w+/[\w/]+\.py)`", (ROOT / page).read_text())
              if path.split("/")[0] in LEVEL}  # fmt: skip
    assert named
    assert not [path for path in named if not (ROOT / path).exists()]


def test_each_promise_names_a_test_that_is_there() -> None:
    page = (ROOT / "docs" / "promises.md").read_text()
    promises = re.findall(r"^- \*\*.*(?:\n  .*)*", page, re.MULTILINE)
    notes = dict(re.findall(r"^\[\^(\d+)\]: `(.+)`$", page, re.MULTILINE))
    assert promises
    assert all("[^" in promise for promise in promises)
    assert set(re.findall(r"\[\^(\d+)\](?!:)", page)) == set(notes)
    for file, name in (note.split("::") for note in notes.values()):
        assert f"def {name}(" in (ROOT / file).read_text(), name


def test_help_is_the_functions_own() -> None:
    assert isinstance(app, typer.Typer)
    assert all(command.callback.__doc__ for command in typer.main.get_command(app).commands.values())
