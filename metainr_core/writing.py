"""Files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .byte_locks import hold
from .errors import ArchiveError

_RANDOM, _SUFFIX = 4, ".partial"  # bytes of a temporary name, and how it ends


def write_atomically(path: Path, data: bytes) -> None:
    """Writes ``data`` so that ``path`` holds all of it or what it held before.

    Raises ArchiveError (unwritable folder, full disk); nothing half-written remains.
    """
    with replacement(path) as temporary, temporary.open("r+b") as file:
        file.write(data)


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Gives the name of an empty file that is at ``path``, on the disk, once the block has ended.

    Where the block raises, ``path`` holds what it held before. A process that is killed leaves
    the file, for ``remove_leftovers``. Raises ArchiveError for every OSError.
    """
    temporary = None
    try:
        handle, temporary = _new_file(path)
        try:
            yield temporary
            os.fsync(handle)
            os.replace(temporary, path)
            temporary = None
        finally:
            os.close(handle)
        _sync_folder(path.parent)
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be written: {error.strerror or error}; choose a writable folder with"
            " enough room"
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def remove_leftovers(folder: Path, *names: str) -> None:
    """Removes what killed processes left of files that were to get these names (glob patterns).

    The files that others are writing now are locked, and stay.
    """
    for name in names:
        for path in folder.glob(f".{name}.{'[0-9a-f]' * 2 * _RANDOM}{_SUFFIX}"):
            with suppress(OSError):
                handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    if stat.S_ISREG(os.fstat(handle).st_mode) and hold(handle, "exclusive"):
                        path.unlink()
                finally:
                    os.close(handle)


def remove_leftovers_of(path: Path) -> None:
    """``remove_leftovers`` for one file."""
    remove_leftovers(path.parent, glob.escape(path.name))


def remove(paths: Iterable[Path]) -> None:
    """Removes files, in that order, as far as they are there. Raises ArchiveError."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ArchiveError(
                f"{path} cannot be removed: {error.strerror or error}; choose another name for"
                " what is to be written"
            ) from error


def _temporary(path: Path, digits: str) -> str:
    return f".{path.name}.{digits}{_SUFFIX}"


def _new_file(path: Path) -> tuple[int, Path]:
    """A locked file beside ``path``, with the rights of any other new file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    while True:
        made = path.with_name(_temporary(path, secrets.token_hex(_RANDOM)))
        handle = os.open(made, flags, 0o666)
        # Somebody who removes leftovers may have been faster than the lock.
        if hold(handle, "exclusive") is not False and os.fstat(handle).st_nlink:
            return handle, made
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_name(path: Path) -> None:
    """Raises ArchiveError when no file can be called that, or none of the temporary ones beside it.

    Most functions that ask whether a file is there would raise something else.
    """
    try:
        os.lstat(path.with_name(_temporary(path, "0" * 2 * _RANDOM)))
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ArchiveError(f"{path}: the name is too long; choose a shorter one") from error
    except ValueError as error:
        raise ArchiveError(f"{str(path)!r}: no file can be called that ({error})") from error


def check_writable(path: Path) -> None:
    """Raises ArchiveError when ``path`` cannot be written: better before hours of work."""
    check_name(path)
    make_folder(path.parent)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be written: {error.strerror or error}; choose a writable folder"
        ) from error


def make_folder(path: Path) -> None:
    """The folder and its parents. Raises ArchiveError when that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveError(
            f"folder {path} cannot be made: {error.strerror or error}; choose a writable folder"
        ) from error
