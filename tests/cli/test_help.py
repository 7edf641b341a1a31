"""What can be chosen stands in the help of every command, read from the registries."""

from collections.abc import Iterable

import pytest
import typer

from holomorph.certification.proofs import METHODS
from holomorph.cli import app
from holomorph.cli.report import FORMATS
from holomorph.comparison.attacks import ATTACK_NAMES
from holomorph.data.sources import source_names
from holomorph.evaluation.processes import ACCELERATORS
from holomorph.explanation.explain import EXPLANATION_PARTS
from holomorph.integrations.export import WRITERS
from holomorph.nn.classifiers import ACTIVATIONS, MODELS
from holomorph.nn.foreign import LIBRARIES
from holomorph.research.planar import PLANAR_SETS
from holomorph.rules import RULES
from holomorph.training.settings import OPTIMIZERS

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]

#: What an option chooses from, wherever it stands.
REGISTRIES: dict[str, Iterable[str]] = {
    "accelerator": ACCELERATORS, "activation": ACTIVATIONS, "data": source_names(), "form": FORMATS, "method": METHODS,
    "model": [*MODELS, *LIBRARIES], "only": EXPLANATION_PARTS, "optimizer": OPTIMIZERS, "rule": RULES, "rules": RULES,
    "split": ATTACK_NAMES, "to": WRITERS,
}  # fmt: skip


@pytest.mark.parametrize("option", REGISTRIES)
def test_help_lists_the_registry(option: str) -> None:
    helps = {name: p.help for name, command in COMMANDS.items() for p in command.params if p.name == option}
    assert helps
    for command, text in helps.items():
        missing = [name for name in (PLANAR_SETS if command == "geometry" else REGISTRIES[option]) if name not in text]
        assert not missing, f"holomorph {command} --{option}"
