"""No private name of a dependency in the source: what has no promise may be gone. None of the source in the tests."""

import ast
import functools
import re
from pathlib import Path

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src"

#: Named tuples' documented methods begin with an underscore, so that they cannot clash with fields.
DOCUMENTED = {"_replace", "_asdict", "_fields", "_make"}


@functools.cache
def trees() -> dict[str, ast.Module]:
    return {str(path.relative_to(SOURCE)): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__")) and name != "_"


def own_names(tree: ast.Module) -> set[str]:
    """Private names that the package itself gives: functions, classes, fields, attributes of self."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "made"):
                found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return {name for name in found if private(name)}


def test_no_private_name_of_a_dependency_is_used() -> None:
    known = set().union(*(own_names(tree) for tree in trees().values())) | DOCUMENTED
    strangers = []
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in known:
                strangers.append(f"{path}:{node.lineno} {ast.unparse(node)}")
            if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("holomorph"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                if any(private(name) for name in names):
                    strangers.append(f"{path}:{node.lineno} {ast.unparse(node)}")
    assert not strangers, "\n".join(strangers)


def test_the_tests_use_no_private_name_of_the_source() -> None:
    """The package ``_utils`` is tested where it lies; its own private names are not used either."""
    ours = set().union(*(own_names(tree) for tree in trees().values()))
    strangers = []
    for path in sorted([*TESTS.rglob("*.py"), *(TESTS.parent / "studies").rglob("*.py")]):
        tree = ast.parse(path.read_text())
        known = ours - own_names(tree)
        for node in ast.walk(tree):
            used = set()
            if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                used = {node.attr} & known
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("holomorph"):
                used = {alias.name for alias in node.names if private(alias.name)} - {"_utils"}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "holomorph" in node.value:
                used = {name for name in re.findall(r"holomorph[\w.]*\.(_[a-z]\w*)", node.value) if name != "_utils"}
            strangers += [f"{path.relative_to(TESTS.parent)}:{node.lineno} {name}" for name in used]
    assert not strangers, "\n".join(strangers)
