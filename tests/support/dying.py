"""A process that dies at its k-th change of the disk: from then on it can change nothing any more."""

import builtins
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

CHANGES = ("open", "replace", "rename", "unlink", "rmdir", "mkdir", "truncate")


class KilledError(BaseException):
    """Raised in place of the change, and of every later one: no handler of ours may tidy up after its death."""


class Disk:
    """Counts the changes that this thread makes to the disk, and ends it at one of them."""

    def __init__(self) -> None:
        self.changes = 0
        self.last: int | None = None

    @contextmanager
    def watched(self, last: int | None = None) -> Iterator[None]:
        """Count from 0; die at change number ``last``."""
        self.changes, self.last = 0, last
        mine = threading.get_ident()
        before: list[tuple[Any, str, Callable[..., Any]]] = []

        def watch(owner: Any, name: str, changes: Callable[..., bool]) -> None:
            real = getattr(owner, name)

            def call(*arguments: Any, **settings: Any) -> Any:
                if threading.get_ident() == mine and changes(*arguments, **settings):
                    self._change()
                return real(*arguments, **settings)

            before.append((owner, name, real))
            setattr(owner, name, call)

        for name in CHANGES:
            watch(os, name, _opens_for_writing if name == "open" else lambda *_, **__: True)
        for owner in (builtins, io):
            watch(owner, "open", _mode_writes)
        try:
            yield
        finally:
            for owner, name, real in before:
                setattr(owner, name, real)

    def _change(self) -> None:
        if self.last is not None and self.changes >= self.last:
            raise KilledError
        self.changes += 1


def _opens_for_writing(_path: Any, flags: int, *_: Any, **__: Any) -> bool:
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _mode_writes(_file: Any, mode: str = "r", *_: Any, **__: Any) -> bool:
    return any(letter in mode for letter in "wax+")
