"""Write the reference of the command line from the commands themselves."""

import inspect
from enum import Enum
from typing import Any

import typer

from holomorph.cli import app

#: What a page writes where the commands shall stand.
PLACE = "<!-- every command -->"


def reference() -> str:
    """Return a section for each command: what it does, how it is called, a table of its options.

    >>> "## holomorph audit" in reference()
    True
    """
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return "\n\n".join(_section(name, command) for name, command in commands.items())


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    shown = [f"[{p.name.upper()}]" if not p.required else p.name.upper() for p in arguments]
    lines = [f"## holomorph {name}", inspect.cleandoc(command.help or ""), "```sh"]
    lines[-1] += "\n" + " ".join(["holomorph", name, *shown, "[OPTIONS]"]) + "\n```"
    if arguments:
        lines.append("\n".join(f"- `{p.name.upper()}`: {_cell(p.help)}" for p in arguments))
    rows = [f"| {_spelling(p)} | {_cell(p.help)} | {_default(p)} |" for p in options]
    lines.append("\n".join(["| option | meaning | default |", "|---|---|---|", *rows]))
    return "\n\n".join(lines)


def _spelling(option: Any) -> str:
    return ", ".join(f"`{spelling}`" for spelling in (*option.opts, *option.secondary_opts))


def _default(option: Any) -> str:
    value = option.default.value if isinstance(option.default, Enum) else option.default
    if option.required:
        return "required"
    if value is None or value == "" or callable(value):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{' '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}`"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", r"\|").replace("<", "&lt;")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the commands where a page asks for them."""
    return markdown.replace(PLACE, reference()) if PLACE in markdown else markdown
