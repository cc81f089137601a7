"""Opening what may be anything: a pipe or a device in a file's place is refused, not waited for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """A regular file (or a link to one) for reading. Raises OSError, also for anything else."""
    try:
        # First asked, then opened: opening a device may do something, opening a pipe may wait.
        _check(os.stat(path))
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except ValueError as error:
        raise OSError(None, f"no file can have this name ({error})") from error
    with os.fdopen(descriptor, "rb") as file:
        _check(os.fstat(descriptor))
        yield file


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(None, "it is no file, but a folder, pipe or device")
