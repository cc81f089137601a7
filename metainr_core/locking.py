"""Who is writing: several processes and filters may share an archive, but no step of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .byte_locks import hold
from .errors import ArchiveError
from .writing import make_folder

_SETTING_UP, _IN_USE, _FIRST_STEP = 0, 1, 2  # bytes
_PATIENCE = 60.0  # seconds, that others need for setting up at most


class WriteLock:
    """Of all who write one result: ``what`` names it, ``path`` is a file that is there meanwhile.

    Those who use an archive may each write steps of their own; one of them at a time sets up what
    they share. Readers need no lock, as files are replaced as a whole.
    """

    def __init__(self, path: Path, what: Path):
        self.path, self.what = path, what
        self._handle: int | None = None
        self._use = "shared"

    @contextmanager
    def used(self, alone: bool = False) -> Iterator[None]:
        """While the block runs nobody else is ``alone``, or nobody else is there.

        Raises ArchiveError where that is not so.
        """
        self._use = "exclusive" if alone else "shared"
        folder = self.path.parent
        made = not folder.exists()
        make_folder(folder)
        try:
            self._enter()
            yield
        finally:
            self._leave()
            if made:
                with suppress(OSError):  # there is something in it
                    folder.rmdir()

    @contextmanager
    def setting_up(self) -> Iterator[None]:
        """While the block runs no other such block does, and nobody begins to use it.

        Raises ArchiveError where another does not come to an end.
        """
        self._wait()
        try:
            yield
        finally:
            self._hold(self._use, _IN_USE)
            self._hold("none", _SETTING_UP)

    def alone(self) -> None:
        """While setting up. Raises ArchiveError where others use it."""
        if self._hold("exclusive", _IN_USE) is False:
            raise self._busy()

    def claim(self, steps: Iterable[int], needed: Iterable[int] = ()) -> None:
        """Steps that only this one writes, and others that it reads and nobody may write.

        Raises ArchiveError when another is writing one of them, or needs it.
        """
        for kind, wanted in (("exclusive", steps), ("shared", needed)):
            for step in wanted:
                if self._hold(kind, _FIRST_STEP + step) is False:
                    raise ArchiveError(
                        f"step {step} of {self.what} is being encoded by another process or"
                        " filter; wait for it, or choose other steps (--steps)"
                    )

    def _enter(self) -> None:
        while True:
            with suppress(OSError):  # a folder for reading only, where nobody writes
                self._handle = os.open(
                    self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
                )
            self._wait()
            if self._handle is None or self._is_current():
                break
            os.close(self._handle)  # the last user removed it meanwhile
            self._handle = None
        if self._hold(self._use, _IN_USE) is False:
            raise self._busy()
        self._hold("none", _SETTING_UP)

    def _leave(self) -> None:
        if self._handle is None:
            return
        with suppress(OSError, ArchiveError):
            self._wait()
            if self._hold("exclusive", _IN_USE) and self._is_current():
                self.path.unlink()
        os.close(self._handle)
        self._handle = None

    def _is_current(self) -> bool:
        assert self._handle is not None
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _wait(self) -> None:
        """Until nobody else sets up."""
        deadline = time.monotonic() + _PATIENCE
        while self._hold("exclusive", _SETTING_UP) is False:
            if time.monotonic() > deadline:
                raise self._busy()
            time.sleep(0.02)

    def _hold(self, kind: str, byte: int) -> bool | None:
        return None if self._handle is None else hold(self._handle, kind, byte)

    def _busy(self) -> ArchiveError:
        return ArchiveError(
            f"{self.what} is being written by another process or filter; wait for it, or choose"
            " another file"
        )


def archive_lock(path: Path) -> WriteLock:
    """Of the archive ``path`` (.minr)."""
    return WriteLock(path.with_suffix("") / ".lock", path)


def file_lock(path: Path) -> WriteLock:
    """Of one file."""
    return WriteLock(path.with_name(f".{path.name}.lock"), path)
