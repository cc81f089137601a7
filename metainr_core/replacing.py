"""An archive that takes the place of another one only once it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .archive_index import check_folder, checked
from .errors import ArchiveError
from .locking import archive_lock
from .writing import check_writable, make_folder


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives the name of a new archive, which is at ``path`` once the block has ended.

    What ``path`` held stays until then, and stays for good where the block raises. Other files
    in its folder are not touched. A process that is killed loses the new archive while the block
    runs, and nothing while files are moved afterwards: see ``recover``. Raises ArchiveError where
    nothing can be written, or another process or filter is writing there.
    """
    path = checked(path)
    check_folder(path)
    folder, made = path.with_suffix(""), _beside(path)
    check_writable(path)
    if os.path.lexists(folder):
        if not folder.is_dir():
            raise ArchiveError(
                f"{path} needs the folder {folder} beside it, but that is a file; choose another"
                " name"
            )
        check_writable(folder / path.name)
    lock = archive_lock(path)
    with lock.used(alone=True):
        with lock.setting_up():  # readers that find it halfway wait for that
            _finish(path)
            make_folder(made)
        try:
            new = made / path.name
            yield new
            with lock.setting_up():
                try:
                    _move_away(path)
                finally:
                    _finish(path)
        except BaseException:
            if not is_halfway(path):
                shutil.rmtree(made, ignore_errors=True)
            raise


def recover(path: Path) -> None:
    """Where a process was killed while it moved an archive's files: finishes or undoes that.

    Raises ArchiveError when that cannot be.
    """
    if not is_halfway(path):
        return
    lock = archive_lock(path)
    try:
        with lock.used(), lock.setting_up():
            _finish(path)
    except ArchiveError:
        if is_halfway(path):  # else the process that was at it is alive, and has finished
            raise


# The new archive is made in a folder beside the old one, so that moving is renaming. Files of the
# old one go into ``old`` there, which is called ``gone`` once it has all. So at any time what is
# at the path is an archive or a part of one, first of the old, then of the new one.


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.replacing")


def _parts(path: Path) -> tuple[Path, Path]:
    return _beside(path) / "old", _beside(path) / "gone"


def is_halfway(path: Path) -> bool:
    """Whether a process is moving an archive's files, or was killed while it was."""
    return any(part.exists() for part in _parts(path))


def _move_away(path: Path) -> None:
    """The old archive."""
    old, gone = _parts(path)
    with _moving(path):
        old.mkdir()
        files = _steps(path.with_suffix(""))
        if path.exists():
            files.append(path)
        for file in reversed(files):
            shutil.move(file, old / file.name)
        old.rename(gone)


def _finish(path: Path) -> None:
    """What was moved away comes back, or the new archive comes if all was."""
    made = _beside(path)
    old, gone = _parts(path)
    for part in (made, old, gone, made / path.stem):
        if part.is_symlink():  # what lies there is none of this archive
            raise ArchiveError(f"{part} is a symbolic link; delete it and open {path} again")
    if not made.exists():
        return
    with _moving(path):
        if is_halfway(path):
            folder = path.with_suffix("")
            folder.mkdir(exist_ok=True)
            source = old if old.exists() else made
            within = source if source == old else made / path.stem
            for file in _steps(within):
                shutil.move(file, folder / file.name)
            if (source / path.name).exists():
                shutil.move(source / path.name, path)
        # Those that say how far it is go last.
        for child in sorted(made.iterdir(), key=lambda p: p in (old, gone)):
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        made.rmdir()


def _steps(folder: Path) -> list[Path]:
    """An archive's files in its folder: each comes after those that it is a difference to."""
    steps = sorted(folder.glob("step_*.safetensors"))
    return [*folder.glob("prior.safetensors"), *steps]


@contextmanager
def _moving(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be replaced: {error.strerror or error}; nothing is lost: once that is"
            f" cured, open it, which moves what is still in {_beside(path)}"
        ) from error
