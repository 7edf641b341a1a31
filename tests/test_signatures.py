"""The same word means the same in every public function and in every command."""

import ast
import functools
import inspect
from pathlib import Path

import pytest
import typer

import holomorph as hm
from holomorph.cli import app

PACKAGE = Path(hm.__file__).parent
PATH = "str | os.PathLike[str]"

#: A word's kinds, and the defaults that it may have where it need not be given.
WORDS: dict[str, tuple[set[str], set[object]]] = {
    "activation": ({"str", "Callable[[Tensor], Tensor]"}, {"gelu"}),
    # samples at once: of a training step 64, of a measurement 250, of a proof, which holds more for each sample, 50
    "batch_size": ({"int", "int | None"}, {64, 250, 50, None}),
    "classes": ({"int", "int | None"}, {0, None}),
    "data_name": ({"str"}, {""}),
    "device": ({"torch.device", "torch.device | str", "str"}, {"auto", "cpu"}),
    "ema": ({"float | None"}, {None}),
    "epochs": ({"int"}, {6}),
    "features": ({"Features | None"}, {None}),
    "force": ({"bool"}, {False}),
    "generator": ({"torch.Generator", "torch.Generator | None"}, {None}),
    "lr": ({"float"}, {4e-3}),
    "model_name": ({"str"}, {""}),
    "n": ({"int | None"}, {None}),
    "out": ({PATH, f"{PATH} | None"}, {None}),
    "quick": ({"bool"}, {False}),
    "resume": ({"bool"}, {False}),
    "rule": ({"Rule", "Rule | str"}, set()),
    "seed": ({"int"}, {0}),
    "thorough": ({"bool"}, {False}),
    "threat": (
        {
            "ThreatModel",
            "ThreatModel | None",
            "ThreatLike",
            "ThreatLike | None",
            "ThreatLike | tuple[()]",
            "ThreatsLike",
        },
        {None, ()},
    ),
    "trust": ({"bool | str"}, {False}),
    "y": ({"Tensor", "Any", "Tensor | None"}, {None}),
}

#: Functions that measure something and write a record, with their commands.
MEASUREMENTS = {"compare": "compare", "certify": "certify", "evaluate": "evaluate", "explain": "explain",
                "fit": "train", "transfer": "transfer"}  # fmt: skip

#: What a command has other defaults for, since it knows more (a run's own threat, data, model) or asks for less work.
OWN = {"baseline", "data", "ema", "epochs", "features", "model", "n", "only", "out", "rule", "sigma", "threat"}


@functools.cache
def public_functions() -> dict[str, ast.FunctionDef]:
    return {
        f"{path.relative_to(PACKAGE)}:{node.name}": node
        for path in sorted(PACKAGE.rglob("*.py"))
        if "cli" not in path.relative_to(PACKAGE).parts
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def parameters(function: ast.FunctionDef) -> dict[str, tuple[str, ast.expr | None]]:
    """By name: the annotation, and the default if there is one."""
    given = function.args
    listed = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(listed) - len(given.defaults)), *given.defaults, *given.kw_defaults]
    pairs = zip([*listed, *given.kwonlyargs], defaults, strict=True)
    return {a.arg: (ast.unparse(a.annotation) if a.annotation else "", default) for a, default in pairs}


@pytest.mark.parametrize("word", WORDS)
def test_a_word_means_the_same_in_every_public_function(word: str) -> None:
    kinds, defaults = WORDS[word]
    found = {name: parameters(node)[word] for name, node in public_functions().items() if word in parameters(node)}
    assert found
    assert not {name: kind for name, (kind, _) in found.items() if kind not in kinds}
    stated = {name: ast.literal_eval(default) for name, (_, default) in found.items() if default is not None}
    assert not {name: default for name, default in stated.items() if default not in defaults}
    assert {type(default) for default in stated.values()} <= {type(default) for default in defaults}, "True is not 1"


def commands() -> dict[str, dict[str, inspect.Parameter]]:
    found = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {name: dict(inspect.signature(command.callback).parameters) for name, command in found.items()}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_measurement_resumes_replaces_and_writes_into_a_folder(name: str) -> None:
    found = inspect.signature(getattr(hm, name)).parameters
    for word in ("resume", "force"):
        assert found[word].kind is inspect.Parameter.KEYWORD_ONLY
    assert "out" in found


@pytest.mark.parametrize("name", commands())
def test_a_word_means_the_same_in_every_command(name: str) -> None:
    for word, option in commands()[name].items():
        if word in ("resume", "force", "trust", "quiet", "quick", "thorough"):
            assert option.default is False
        if word == "seed":
            assert option.default == 0
        if word == "out":
            assert option.default is None or isinstance(option.default, Path)
            assert not (option.default and option.default.suffix), "a folder"


@pytest.mark.parametrize(("function", "command"), MEASUREMENTS.items())
def test_a_command_has_the_defaults_of_its_function(function: str, command: str) -> None:
    found, options = inspect.signature(getattr(hm, function)).parameters, commands()[command]
    shared = set(found) & set(options) - OWN
    assert {"resume", "force"} <= shared
    assert {word: options[word].default for word in shared} == {word: found[word].default for word in shared}
