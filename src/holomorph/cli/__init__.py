"""The command line: one file a command; here they are gathered, and errors become exit codes."""

import importlib
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from holomorph._utils.versions import versions
from holomorph.cli.allocator import keep_memory
from holomorph.cli.common import say, sentence
from holomorph.cli.faults import catch_signals, open_streams, reader_has_gone, users_fault
from holomorph.errors import HolomorphError, HolomorphWarning, StoppedError

#: Every command, in the order of the help; ``NAME_command`` in the file of its name.
COMMANDS = ("run", "train", "evaluate", "certify", "compare", "report", "check", "export", "audit", "explain",
            "transfer", "geometry")  # fmt: skip


class _Commands(Mapping[str, Any]):
    """The commands, each imported when it is asked for: what trains takes seconds to import."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        function = getattr(importlib.import_module(f"holomorph.cli.{name}"), f"{name}_command")
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name)(function)
        return typer.main.get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Group(TyperGroup):
    """Asks for commands by name."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()  # type: ignore[assignment]


app = typer.Typer(
    name="holomorph", cls=_Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(", ".join(f"{name} {number}" for name, number in versions("foolbox", "pyautoattack").items()))
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Train classifiers that withstand adversarial examples, attack them honestly, and see why they withstand."""


#: Commands that keep what they finish.
RESUMABLE = {"run", "train", "evaluate", "compare", "certify", "explain", "transfer"}

#: Exit status: done, our fault, bad input, a failed check under --strict, interrupted.
DONE, OUR_FAULT, BAD_INPUT, CHECK_FAILED, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 bad input, 1 our fault, 3 a failed check under ``--strict``."""
    keep_memory()
    catch_signals()
    open_streams()
    sys.exit(exit_status(sys.argv[1:] if arguments is None else arguments))


def exit_status(arguments: list[str]) -> int:
    """Run a command; the status to end with. Errors are said, not raised."""
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", HolomorphWarning)
    try:
        outcome = app(args=arguments or ["--help"], standalone_mode=False)
        if outcome == INTERRUPTED:  # the parser has already caught the signal
            raise KeyboardInterrupt
        return outcome if isinstance(outcome, int) else DONE
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, StoppedError):
        say(f"holomorph: interrupted. {_how_to_go_on(arguments)}")
        return INTERRUPTED
    except HolomorphError as error:
        say(f"holomorph: {sentence(error)}")
        return BAD_INPUT
    except BaseException as error:  # a user's code may end the process or raise what is no Exception
        return _unexpected(error)


def _how_to_go_on(arguments: list[str]) -> str:
    """What to do after an interruption; only commands that keep what they finish can be resumed."""
    if arguments and arguments[0] in RESUMABLE:
        return "What was finished is kept; the same command with --resume goes on from there."
    return "Nothing was written; start the command again."


def _unexpected(error: BaseException) -> int:
    """Sort out what the user can mend from what is our fault."""
    import traceback

    if reader_has_gone(error):
        return INTERRUPTED
    if complaint := users_fault(error):
        say(f"holomorph: {complaint}")
        return BAD_INPUT
    traceback.print_exception(error)
    say("holomorph: this is a mistake of ours. Please report it with the lines above and `holomorph --version`.")
    return OUR_FAULT


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    if issubclass(category, HolomorphWarning):
        say(f"holomorph: warning: {message}")
