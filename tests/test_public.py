"""The public face: one table, complete, documented, light to import, and the same words for the same things."""

import ast
import importlib
import importlib.metadata
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import holomorph as hm
from holomorph.rules import Rule

PACKAGE = Path(hm.__file__).parent
FUNCTIONS = [name for name in hm.PUBLIC if inspect.isfunction(getattr(hm, name))]


@pytest.mark.parametrize("name", hm.PUBLIC)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(hm, name).__doc__


def test_the_version_is_that_of_the_distribution() -> None:
    assert hm.__version__ == importlib.metadata.version("holomorph")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'dirichlet_rule'"):
        _ = hm.dirichlet_rule  # type: ignore[attr-defined]


def test_dir_lists_the_public_names() -> None:
    assert set(hm.__all__) <= set(dir(hm))


def test_every_package_is_reachable() -> None:
    packages = {found.name for found in pkgutil.iter_modules([str(PACKAGE)]) if found.ispkg}
    assert packages - {"_utils", "cli"} <= set(hm.PUBLIC)


def test_every_rule_is_exported() -> None:
    """A rule is a class that a module of ``holomorph.rules`` defines and that has a name of its own."""

    def below(cls: type[Any]) -> set[type[Any]]:
        return {cls}.union(*(below(sub) for sub in cls.__subclasses__()))

    for found in pkgutil.iter_modules(hm.rules.__path__):
        importlib.import_module(f"holomorph.rules.{found.name}")
    ours = {rule for rule in below(Rule) if rule.__module__.startswith("holomorph.rules.") and "name" in vars(rule)}
    assert {rule.__name__ for rule in ours if not rule.__name__.startswith("_")} <= set(hm.PUBLIC)


def test_type_checkers_read_the_same_table() -> None:
    imports = [
        node for node in ast.parse((PACKAGE / "__init__.pyi").read_text()).body if isinstance(node, ast.ImportFrom)
    ]
    read = {alias.name: node.module for node in imports for alias in node.names}
    homes = {name: "holomorph" if home == f"holomorph.{name}" else home for name, home in hm.PUBLIC.items()}
    assert read == homes


@pytest.mark.slow
def test_importing_holomorph_brings_no_heavy_package() -> None:
    code = (
        "import sys, holomorph; holomorph.ThreatModel; holomorph.Dirichlet; holomorph.calculus.dirichlet_energy; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"foolbox", "pyautoattack", "sklearn", "matplotlib", "lightning_fabric", "onnxruntime", "tensorboard"}
    assert "torch" in loaded
    assert not heavy & set(loaded)


def test_no_module_hides_a_public_name_of_its_package() -> None:
    """An import of ``holomorph.a.b`` sets the attribute b of the package a, whatever stood there."""
    for package in (name for name, home in hm.PUBLIC.items() if home == f"holomorph.{name}"):
        home = getattr(hm, package)
        names = {found.name for found in pkgutil.iter_modules(getattr(home, "__path__", []))}
        for name in names:
            importlib.import_module(f"holomorph.{package}.{name}")
        shadowed = {name for name in names & set(getattr(home, "__all__", ())) if inspect.ismodule(getattr(home, name))}
        assert not shadowed - {"jets", "special"}, f"holomorph.{package}"


def public_names(path: Path) -> set[str]:
    """What a module defines, or a package hands on under another name: classes, functions, constants."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and path.name == "__init__.py":
            names |= {alias.asname for alias in node.names if alias.asname}
    return {name for name in names if not name.startswith("_")}


def test_no_two_public_things_share_a_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in public_names(path):
            homes.setdefault(name, []).append(str(path.relative_to(PACKAGE)))
    assert {"evaluate", "ThreatModel", "RULES"} <= homes.keys()
    assert not {name: where for name, where in homes.items() if len(where) > 1}


def test_every_kind_of_record_can_be_read() -> None:
    from holomorph.records.base import Record
    from holomorph.records.reading import KINDS

    for found in pkgutil.iter_modules(hm.records.__path__):
        importlib.import_module(f"holomorph.records.{found.name}")
    kinds = {record.KIND for record in Record.__subclasses__() if record.__module__.startswith("holomorph.records.")}
    assert kinds <= set(KINDS)
