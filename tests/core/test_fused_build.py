"""Compiling the fused library, and doing without it."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from metainr_core import fused
from metainr_core.errors import MetaINRWarning
from metainr_core.fused import build

CPU = torch.device("cpu")
needs_library = pytest.mark.skipif(build.library() is None, reason="no C++ compiler")


@pytest.fixture
def nothing_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and no library loaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build.library.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    build.library.cache_clear()


@needs_library
def test_it_is_compiled_once(nothing_built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build.library() is not None
    files = list((nothing_built / "metainr").iterdir())
    assert [f.suffix for f in files] == [".so"]
    assert files[0].stat().st_mode & 0o077 == 0
    build.library.cache_clear()

    def run(*_: object, **__: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(subprocess, "run", run)
    assert build.library() is not None


@needs_library
def test_a_library_that_cannot_be_loaded_is_built_again(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut short, or made on another system with the same home folder."""
    load = ctypes.CDLL
    refused: list[str] = []

    def once(path: str) -> ctypes.CDLL:
        if not refused:
            refused.append(path)
            raise OSError("invalid ELF header")
        return load(path)

    monkeypatch.setattr(ctypes, "CDLL", once)
    assert build.library() is not None
    assert Path(refused[0]).stat().st_size > 10_000


def test_without_a_compiler_pytorch_does_the_work(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.warns(MetaINRWarning, match=r"install g\+\+"):
        assert not fused.serves(CPU, torch.float32)


def test_a_compiler_that_fails_is_named(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "broken++"
    compiler.write_text("#!/bin/sh\necho 'fused.cpp:1: error: no such luck' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.warns(MetaINRWarning, match=r"broken\+\+ could not .*no such luck"):
        assert not fused.serves(CPU, torch.float32)
    assert not list((nothing_built / "metainr").iterdir())


def test_a_folder_that_others_can_write_to_is_not_trusted(nothing_built: Path) -> None:
    folder = nothing_built / "metainr"
    folder.mkdir()
    os.chmod(folder, 0o777)
    with pytest.warns(MetaINRWarning, match="mode 700"):
        assert not fused.serves(CPU, torch.float32)


def test_without_a_home_folder_pytorch_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    build.library.cache_clear()
    try:
        with pytest.warns(MetaINRWarning, match="XDG_CACHE_HOME"):
            assert not fused.serves(CPU, torch.float32)
    finally:
        build.library.cache_clear()


@needs_library
@pytest.mark.parametrize("place", ["file", "read-only"])
def test_an_unusable_cache_is_named_and_done_without(
    nothing_built: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if place == "file":
        (nothing_built / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(nothing_built / "file"))
        message = r"cache folder .*file.metainr cannot be used \(Not a directory\).*; set XDG_CACHE"
    else:
        make = tempfile.mkstemp

        def refuse(dir: Path, suffix: str) -> tuple[int, str]:
            if dir == nothing_built / "metainr":
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return make(dir=dir, suffix=suffix)

        monkeypatch.setattr(tempfile, "mkstemp", refuse)
        message = r"cache folder .*metainr cannot be used \(Read-only file system\).*; set XDG"
    temporary = nothing_built / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.warns(MetaINRWarning, match=message):
        assert fused.serves(CPU, torch.float32)
    assert not list(temporary.iterdir())
