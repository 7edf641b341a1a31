"""A folder that a measurement writes to: which names there are its own, and that everything else is left alone.

What a measurement owns in a folder is known by two things. A lock file, made before anything else, says that one of its
kind once began there; the operating system releases the lock when its process ends, however it ends. And every
file that is to be replaced or removed must be a plain file that really lies in that folder: links are never followed.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from holomorph._utils.io import sweep
from holomorph.errors import ConfigError, StorageError


@dataclass(frozen=True)
class Output:
    """What one kind of measurement writes into a folder.

    Attributes
    ----------
    folder:
        The folder; other files of the user may lie in it.
    kind:
        Names the lock file, and so what began there: ``.evaluation.lock``.
    results:
        Names of the files that stay.
    work:
        Name of the folder of finished parts, which goes when the results are there.
    """

    folder: Path
    kind: str
    results: tuple[str, ...]
    work: str = ""

    @property
    def lock(self) -> Path:
        """The file that is locked while a measurement of this kind writes, and stays as its mark."""
        return self.folder / f".{self.kind}.lock"

    @property
    def began(self) -> bool:
        """Whether a measurement of this kind once began in the folder."""
        return self.lock.is_file() and not self.lock.is_symlink()

    @contextmanager
    def writing(self, *, resume: bool = False, force: bool = False) -> Iterator[None]:
        """Hold the folder while a measurement writes into it.

        Raises
        ------
        ConfigError
            Where results lie already and neither ``resume`` nor ``force`` is given, where they are not ours, or where
            another process is writing.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is no folder. Name a folder.")
        here = [self.folder / name for name in self.results if (self.folder / name).exists()]
        here += [path for path in (self.work_folder,) if path is not None and path.is_dir() and any(path.iterdir())]
        if here and not self.began:
            raise ConfigError(f"{here[0]} was not written by holomorph and is left alone. Choose another folder.")
        if here and not (resume or force):
            raise ConfigError(
                f"{here[0]} exists. Choose another folder, or give --force (force=True) to replace it, "
                f"or --resume (resume=True) to go on."
            )
        with locked(self.lock):
            if force and not resume:
                remove_own(self.folder, here)
            self._sweep()
            yield

    @property
    def work_folder(self) -> Path | None:
        """The folder of finished parts."""
        return self.folder / self.work if self.work else None

    def file(self, name: str) -> Path:
        """Where a result lies."""
        return self.folder / name

    def clear_work(self) -> None:
        """Remove the finished parts, once the results hold what they said."""
        if self.work_folder is not None and self.began:
            remove_own(self.folder, [self.work_folder])

    def _sweep(self) -> None:
        sweep(self.folder, self.results)
        if self.work_folder is not None and self.work_folder.is_dir() and not self.work_folder.is_symlink():
            sweep(self.work_folder, _unfinished_names(self.work_folder))


def _unfinished_names(folder: Path) -> list[str]:
    """In a folder that is wholly ours, every unfinished file is."""
    return [path.name[1:].rsplit(".", 2)[0] for path in folder.glob(".*.part")]


@contextmanager
def output(
    out: str | os.PathLike[str] | None,
    kind: str,
    results: Sequence[str],
    *,
    work: str = "",
    resume: bool = False,
    force: bool = False,
    holds: bool = True,
) -> Iterator[Output | None]:
    """Hold the folder ``out`` for a measurement of this kind; None where it writes nothing.

    ``holds`` is false in the processes that share the work of the one that holds the folder.
    """
    if out is None:
        yield None
        return
    place = Output(Path(out), kind, tuple(results), work)
    with place.writing(resume=resume, force=force) if holds else nullcontext():
        yield place


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, or refuse: two runs in one folder would spoil each other's work.

    A folder that is made here goes again where what was to be written there fails before it has written anything.

    Raises
    ------
    ConfigError
        Where another process holds it, or the name is a link.
    StorageError
        Where the folder cannot be written.
    """
    if path.is_symlink():
        raise ConfigError(f"{path} is a link and is left alone. Choose another folder.")
    lock = FileLock(path, is_singleton=True)  # the same process may hold it twice: a command and what it calls
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"Another process is writing into {path.parent}. Wait until it ends, or choose another folder."
        ) from None
    except OSError as error:
        raise StorageError(path.parent, error) from error
    try:
        yield
    except BaseException:
        if made and list(made[0].iterdir()) == [path]:
            path.unlink()
            for folder in made:
                folder.rmdir()
        raise
    finally:
        lock.release()


def remove_own(folder: Path, paths: Sequence[Path]) -> None:
    """Remove files, and folders with the plain files in them, that really lie below a folder of ours.

    Raises
    ------
    ConfigError
        Where one is a link, or lies elsewhere by way of one; nothing is removed then.
    """
    files = [file for path in paths for file in (_below(path) if path.is_dir() and not path.is_symlink() else [path])]
    home = folder.resolve()
    if folder.is_symlink():
        raise ConfigError(f"{folder} is a link. What it points to is left alone; name the folder itself.")
    for path in [*paths, *files]:
        if path.is_symlink() or home not in path.resolve().parents:
            raise ConfigError(f"{path} is a link, or lies beyond one, and is left alone. Choose another folder.")
    for file in files:
        file.unlink(missing_ok=True)
    within = {above for file in [*files, *(p / "x" for p in paths if p.is_dir())] for above in file.parents}
    for above in sorted((a for a in within if folder in a.parents), reverse=True):  # the inner ones first
        if above.is_dir() and not any(above.iterdir()):
            above.rmdir()


def _below(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]
