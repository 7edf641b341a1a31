"""Whose fault an error is: a sentence for what the user can mend, a traceback for mistakes of ours."""

import errno
import os
import signal
import sys
import sysconfig
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType

#: What the operating system says when there is no room, or no right, to write.
_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
_PLACE |= {errno.EISDIR, errno.ENOTDIR, errno.ELOOP}

_HERE = Path(__file__).resolve().parents[1]
_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


def users_fault(error: BaseException) -> str | None:
    """Say in a sentence what the user can mend; None for a mistake of ours."""
    if hasattr(error, "format_message"):  # the parser of the options
        return str(error.format_message())
    if isinstance(error, OSError) and error.errno in _PLACE:
        place = error.filename or "A file"
        return f"{place} cannot be written ({error.strerror}). Free some space or choose another place."
    where = _users_line(error)
    if where is None:
        return None
    if isinstance(error, SystemExit):
        return f"Your code in {where} ended the process. Return the model instead."
    said = " ".join(str(error).split())[:300]
    return f"Your code in {where} raised {type(error).__name__}{f': {said}' if said else ''}. Mend it there."


def _users_line(error: BaseException) -> str | None:
    """The innermost line that is neither a library's nor ours, if one stands below ours."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if not path.is_file():
            continue
        home = path.resolve()
        if _HERE in home.parents:
            return None
        if not any(library in home.parents for library in _LIBRARIES):
            return f"{path.name}, line {frame.lineno},"
    return None


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that what was finished is kept and said."""
    raise KeyboardInterrupt


def catch_signals() -> None:
    """Take a request to end, from a scheduler or a closed terminal, for Ctrl-C."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), interrupt)


def open_streams() -> None:
    """Write to nowhere where a standard stream was closed before the start: nobody wants to read it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open as long as the process is


def reader_has_gone(error: BaseException) -> bool:
    """Whether a pipe that was printed to is closed, as by ``| head``; what is left to print then goes nowhere."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, BrokenPipeError):
        found = found.__cause__ or found.__context__
    frames = traceback.extract_tb(found.__traceback__) if found is not None else []
    if found is None or any("multiprocessing" in Path(frame.filename).parts for frame in frames):
        return False  # nothing was printed: a process that loads data is gone
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True
