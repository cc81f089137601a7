"""Locks of open files, which end with whoever holds them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metainr_core import byte_locks
from metainr_core.byte_locks import hold


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[int, int]]:
    handles = [os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    yield handles[0], handles[1]
    for handle in handles:
        os.close(handle)


def test_one_byte_has_one_holder_or_several_that_share(two: tuple[int, int]) -> None:
    """Of one process, which other kinds of locks would not tell apart."""
    first, second = two
    assert hold(first, "exclusive", 3)
    assert hold(second, "exclusive", 4)
    assert hold(second, "exclusive", 3) is False
    assert hold(second, "shared", 3) is False
    assert hold(first, "shared", 3)
    assert hold(second, "shared", 3)
    assert hold(first, "exclusive", 3) is False
    assert hold(second, "none", 3)
    assert hold(first, "exclusive", 3)


def test_it_ends_when_the_file_is_closed(two: tuple[int, int], tmp_path: Path) -> None:
    first, second = two
    third = os.open(tmp_path / "file", os.O_RDWR)
    assert hold(third, "exclusive")
    assert hold(first, "shared") is False
    os.close(os.open(tmp_path / "file", os.O_RDWR))  # what would end a lock of a process
    assert hold(second, "shared") is False
    os.close(third)
    assert hold(second, "shared")


@pytest.mark.parametrize("how", ["system", "file system"])
def test_where_there_are_none(
    two: tuple[int, int], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if how == "system":
        monkeypatch.setattr(byte_locks, "_KINDS", {})
    else:
        monkeypatch.setattr(byte_locks.fcntl, "fcntl", refuse)
    assert [hold(handle, "exclusive") for handle in two] == [None, None]
