"""An archive that takes another one's place once it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from metainr_core import replacing as module
from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import ArchiveError, Cancelled
from metainr_core.replacing import replacing
from metainr_core.series import Series

CONFIG = EncodeConfig(siren=SirenConfig(4, 1), init="random", epochs=1, batch_size=512)
Maker = Callable[..., Series]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_new_one_is_there_after_the_block(tmp_path: Path, make_series: Maker) -> None:
    path = tmp_path / "new" / "run.minr"
    with replacing(path) as new:
        made = encode(make_series(2), new, config=CONFIG)
        values = made.decode(1)
        assert not path.exists()
    assert (Archive.open(path).decode(1) == values).all()
    assert sorted(os.listdir(path.parent)) == ["run", "run.minr"]


def test_nothing_of_the_old_one_is_left(tmp_path: Path, make_series: Maker) -> None:
    path = tmp_path / "run.minr"
    encode(make_series(4), path, config=CONFIG)
    own = tmp_path / "run" / "notes.txt"
    own.write_text("mine")
    with replacing(path) as new:
        encode(make_series(2), new, config=CONFIG)
        assert Archive.open(path).steps == [0, 1, 2, 3]
    assert Archive.open(path).steps == [0, 1]
    assert sorted(os.listdir(tmp_path / "run")) == [
        "notes.txt", "step_000000.safetensors", "step_000001.safetensors",
    ]  # fmt: skip
    assert own.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["run", "run.minr"]


@pytest.mark.parametrize("error", [ArchiveError, Cancelled, KeyboardInterrupt])
def test_the_old_one_stays_where_the_new_one_fails(
    tmp_path: Path, make_series: Maker, error: type[BaseException]
) -> None:
    path = tmp_path / "run.minr"
    encode(make_series(3), path, config=CONFIG)
    before = files(tmp_path)

    def fail() -> None:
        with replacing(path) as new:
            encode(make_series(2), new, config=CONFIG)
            raise error("no")

    with pytest.raises(error):
        fail()
    assert files(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["run", "run.minr"]


def test_a_file_where_the_folder_has_to_be(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with (
        pytest.raises(ArchiveError, match=r"needs the folder .*run beside it, but that is a file"),
        replacing(tmp_path / "run.minr"),
    ):
        raise AssertionError("too late")
    assert files(tmp_path) == {"run": b"mine"}


@pytest.mark.parametrize("name", ["run.vti", "run"])
def test_another_extension(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match=r"name ends in \.minr"), replacing(tmp_path / name):
        raise AssertionError("too late")


def test_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "run.minr").mkdir()
    with pytest.raises(ArchiveError, match="Is a directory"), replacing(tmp_path / "run.minr"):
        raise AssertionError("too late")


def halfway(path: Path, new: Path, moves: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Stops where a killed process would after so many moves of files; whether it did."""
    move, finish, made = shutil.move, module._finish, False

    def move_some(source: Path, target: Path) -> None:
        nonlocal moves
        if moves == 0:
            raise KeyboardInterrupt
        moves -= 1
        move(source, target)

    def finish_if_alive(path: Path) -> None:
        if moves or not made:
            finish(path)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "move", move_some)
        patch.setattr(module, "_finish", finish_if_alive)
        with suppress(KeyboardInterrupt), replacing(path) as temporary:
            shutil.copytree(new.parent, temporary.parent, dirs_exist_ok=True)
            made = True
    return (path.parent / ".run.minr.replacing").exists()


@pytest.mark.parametrize("again", ["open", "replace", "encode"])
def test_what_was_moved_halfway_is_brought_to_its_end(
    tmp_path: Path, make_series: Maker, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    old, new = (tmp_path / name / "run.minr" for name in ("old", "new"))
    encode(make_series(3), old, config=CONFIG)
    encode(make_series(2), new, config=CONFIG)
    wholes = {len(Archive.open(p).steps): files(p.parent) for p in (old, new)}
    (old.with_suffix("") / "notes.txt").write_text("mine")
    seen = []
    for moves in range(100):
        path = tmp_path / str(moves) / "run.minr"
        shutil.copytree(old.parent, path.parent)
        if not halfway(path, new, moves, monkeypatch):
            break
        if again == "replace":
            with pytest.raises(Cancelled), replacing(path):
                raise Cancelled("enough")
        elif again == "encode":
            with suppress(ArchiveError):  # where it is the other series' by now
                encode(make_series(3), path, config=CONFIG)
        seen.append(len(Archive.open(path).steps))
        assert sorted(os.listdir(path.parent)) == ["run", "run.minr"]
        found = files(path.parent)
        assert found.pop("run/notes.txt") == b"mine"
        assert found == wholes[seen[-1]]
    assert seen == [3, 3, 3, 3, 2, 2, 2]


def test_readers_leave_one_that_is_alive_alone(tmp_path: Path, make_series: Maker) -> None:
    path = tmp_path / "run.minr"
    encode(make_series(3), path, config=CONFIG)
    with replacing(path) as new:
        encode(make_series(2), new, config=CONFIG)
        (new.parent / "old").mkdir()  # halfway
        with pytest.raises(ArchiveError, match="being written by another process"):
            Archive.open(path)
        (new.parent / "old").rmdir()
        assert Archive.open(path).steps == [0, 1, 2]
    assert Archive.open(path).steps == [0, 1]
