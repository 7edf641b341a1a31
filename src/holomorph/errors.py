"""The errors and warnings that holomorph raises: each says what was wrong, what was expected, what to do."""

import difflib
from collections.abc import Iterable


class HolomorphError(Exception):
    """Base of every error that the user can mend; the command line turns it into exit status 2."""


class DataError(HolomorphError):
    """The samples or labels are not what was stated: range, type, shape, number, or missing files."""


class ConfigError(HolomorphError):
    """A name, a setting or a combination of settings that cannot be used."""


class ModelError(HolomorphError):
    """The model does not map a batch of inputs to a batch of logits."""


class CheckpointError(HolomorphError):
    """A checkpoint that is missing, truncated, altered, or of another architecture."""


class StorageError(HolomorphError):
    """A file that cannot be written: the disk is full, a limit is reached, or the place is not ours to write."""

    def __init__(self, path: object, error: OSError) -> None:
        super().__init__(
            f"{path} cannot be written ({error.strerror or error}). Free some space or choose another place, then go "
            f"on with --resume (resume=True)."
        )


class TrainingError(HolomorphError):
    """Training cannot go on, for instance because the loss is not finite."""


class StoppedError(TrainingError):
    """A training that ended early because the process was asked to end; a checkpoint was written."""


class WorkerError(HolomorphError):
    """A process that shared the work was lost; what was finished is kept."""


class DomainError(HolomorphError):
    """A function was asked for outside the domain on which it is defined or analytic."""


class NotDifferentiableError(HolomorphError):
    """The output does not depend differentiably on the input."""


class NotHolomorphicError(HolomorphError):
    """An operation that is not complex differentiable stands inside a complex evaluation."""


class MissingExtraError(HolomorphError):
    """An optional package is needed; the message names the extra that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"This needs the package {package}. Install it with: pip install 'holomorph[{extra}]'")


class HolomorphWarning(UserWarning):
    """Something that works but is probably not what was meant."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Build the error for a name that is not known, with the nearest names that are.

    >>> print(unknown_name("rule", "dirichle", ["dirichlet", "plain"]))
    Unknown rule 'dirichle'. Did you mean 'dirichlet'? Known: dirichlet, plain.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return ConfigError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")


def known_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Find a name in a table whose names have hyphens; a person may write underscores as well.

    Raises
    ------
    ConfigError
        For a name that is not there, with the nearest ones that are.

    >>> known_name("method", "finite_difference", ["exact", "finite-difference"])
    'finite-difference'
    """
    names = list(known)
    spelled = name.replace("_", "-") if isinstance(name, str) else name
    if spelled not in names:
        raise unknown_name(kind, str(name), names)
    return spelled
