"""Files are whole or absent, and nothing stays behind."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metainr_core.errors import ArchiveError
from metainr_core.writing import (
    check_name,
    check_writable,
    make_folder,
    remove,
    remove_leftovers,
    remove_leftovers_of,
    replacement,
    write_atomically,
)


def fail(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("function", ["replace", "fsync", "open"])
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, function, fail)
    with pytest.raises(ArchiveError, match=r"file cannot be written: No space left") as error:
        write_atomically(path, b"new")
    assert "\n" not in str(error.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_data_is_on_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real: Callable[..., None] = getattr(os, name)

        def note(*a: Any, name: str = name, real: Callable[..., None] = real) -> None:
            calls.append(name)
            real(*a)

        monkeypatch.setattr(os, name, note)
    write_atomically(tmp_path / "file", b"data")
    assert calls == ["fsync", "replace", "fsync"]


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_a_file_in_place_of_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for function in (make_folder, check_writable):
        with pytest.raises(ArchiveError, match="choose a writable folder"):
            function(tmp_path / "file" / "sub")
    with pytest.raises(ArchiveError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "sub", b"")
    with pytest.raises(ArchiveError, match="cannot be written: No such file"):
        write_atomically(tmp_path / "absent" / "sub", b"")
    with pytest.raises(ArchiveError, match="cannot be written: Is a directory"):
        check_writable(tmp_path)
    check_writable(tmp_path / "new" / "file")
    assert not list((tmp_path / "new").iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "run[1].minr"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from metainr_core.writing import replacement\n"
        "with replacement(Path(sys.argv[1])) as new:\n"
        "    new.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, path], check=False, env=environment())
    assert len(list(tmp_path.iterdir())) == 1
    remove_leftovers(tmp_path, "other", "run")
    assert len(list(tmp_path.iterdir())) == 1
    remove_leftovers_of(path)
    assert not list(tmp_path.iterdir())


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def test_files_that_are_being_written_and_other_peoples_stay(tmp_path: Path) -> None:
    others = [".run.minr.backup", ".run.minr.original.partial", "run.minr.01234567.partial"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".run.minr.01234567.partial").mkdir()
    (tmp_path / ".run.minr.76543210.partial").symlink_to(tmp_path / "elsewhere")
    path = tmp_path / "run.minr"
    with replacement(path) as new:
        new.write_bytes(b"whole")
        before = set(tmp_path.iterdir())
        remove_leftovers(tmp_path, "run.minr", "*")
        assert set(tmp_path.iterdir()) == before
    assert path.read_bytes() == b"whole"
    assert len(before) == len(others) + 3


def test_a_new_file_that_was_taken_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, times = tmp_path / "file", os.open, 2

    def remove_at_first(name: Any, *arguments: Any) -> int:
        nonlocal times
        handle = real(name, *arguments)
        if times:
            times -= 1
            Path(name).unlink()
        return handle

    monkeypatch.setattr(os, "open", remove_at_first)
    write_atomically(path, b"data")
    assert path.read_bytes() == b"data"


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArchiveError, match=r"folder cannot be removed: Is a directory; choose"):
        remove([tmp_path / "file", tmp_path / "absent", tmp_path / "folder"])
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("x" * 300, "the name is too long; choose a shorter one"),
     ("x" * 250, "the name is too long"), ("a\0b", "no file can be called that")],
)  # fmt: skip
def test_names_that_no_file_can_have_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    for check in (check_name, check_writable):
        with pytest.raises(ArchiveError, match=reason):
            check(tmp_path / name)
    check_name(tmp_path / "missing" / "ä b%*[1].minr")
