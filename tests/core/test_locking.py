"""Several who write one archive or prior: what they share, and where one is refused."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from metainr_core import byte_locks, locking
from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import ArchiveError, Cancelled
from metainr_core.locking import archive_lock, file_lock
from metainr_core.pretraining import pretrain
from metainr_core.prior import Prior
from metainr_core.replacing import replacing
from metainr_core.series import ArraySeries
from tests.core.command_line import ENCODE, NETWORK, start, wait_for

Maker = Callable[..., ArraySeries]


def test_those_who_use_it_and_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.minr"
    one, other = archive_lock(path), archive_lock(path)
    with one.used(), other.used():
        with one.setting_up(), pytest.raises(ArchiveError, match="being written by another"):
            one.alone()
        one.claim([0, 2], needed=[5])
        other.claim([1, 3], needed=[5])
        with pytest.raises(ArchiveError, match=r"step 2 of .*run\.minr is being encoded by"):
            other.claim([2])
        with pytest.raises(ArchiveError, match="step 5"):
            other.claim([5])
    with one.used(alone=True):
        with one.setting_up():
            pass
        for alone in (False, True):
            with (
                pytest.raises(ArchiveError, match="being written by another"),
                other.used(alone),
            ):
                raise AssertionError("both")
    assert not list(tmp_path.iterdir()), "the lock's file or its folder stays"


def test_setting_up_waits_for_the_other(tmp_path: Path) -> None:
    one, other = file_lock(tmp_path / "p"), file_lock(tmp_path / "p")
    order: list[str] = []

    def second() -> None:
        with other.used(), other.setting_up():
            order.append("second")

    with one.used():
        with one.setting_up():
            thread = threading.Thread(target=second)
            thread.start()
            thread.join(0.1)
            order.append("first")
        thread.join(10)
    assert order == ["first", "second"]


def test_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "_PATIENCE", 0.05)
    one, other = file_lock(tmp_path / "p"), file_lock(tmp_path / "p")
    with (
        one.used(),
        one.setting_up(),
        pytest.raises(ArchiveError, match="being written by another"),
        other.used(),
    ):
        raise AssertionError("both")


def test_a_file_that_the_last_user_removes_is_made_again(tmp_path: Path) -> None:
    """Between opening it and locking it."""
    one, other = file_lock(tmp_path / "p"), file_lock(tmp_path / "p")
    real = other._wait
    leaving: list[Any] = [one.used()]
    leaving[0].__enter__()

    def wait() -> None:
        while leaving:
            leaving.pop().__exit__(None, None, None)
        real()

    other._wait = wait  # type: ignore[method-assign]
    with other.used(), pytest.raises(ArchiveError), one.used(alone=True):
        raise AssertionError("both")


def test_folders_for_reading_and_copies_with_the_lock_do_no_harm(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.minr"
    encode(make_series(), path, config=quick)
    (tmp_path / "run" / ".lock").touch()  # copied while an encode was at work
    assert Archive.open(path).steps == [0, 1, 2, 3]
    encode(make_series(), path, config=quick)
    assert not (tmp_path / "run" / ".lock").exists()

    real = os.open

    def refuse(name: Any, flags: int, *arguments: Any, **keywords: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise PermissionError(13, "Permission denied")
        return real(name, flags, *arguments, **keywords)

    monkeypatch.setattr(os, "open", refuse)
    encode(make_series(), path, config=quick)


@pytest.mark.parametrize("locks", [True, False])
def test_two_encodes_in_one_process(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    monkeypatch: pytest.MonkeyPatch,
    locks: bool,
) -> None:
    """The second one comes while the first is at work, as two filters in ParaView."""
    if not locks:
        monkeypatch.setattr(byte_locks, "_KINDS", {})
    path = tmp_path / "run.minr"
    refused: list[str] = []
    tried: list[str] = []

    def second(fraction: float, message: str) -> None:
        if "pass" not in message or tried:
            return
        tried.append(message)
        assert encode(make_series(), path, config=quick, steps=[3]).steps[-1] == 3
        try:
            encode(make_series(), path, config=quick)
        except ArchiveError as error:
            refused.append(str(error))

    made = encode(make_series(), path, config=quick, steps=[0, 1, 2], progress=second)
    whole = encode(make_series(), tmp_path / "whole.minr", config=quick)
    assert made.steps == [0, 1, 2, 3]
    assert Archive.open(path).damaged() == []
    assert all((made.decode(s) == whole.decode(s)).all() for s in whole.steps)
    assert len(refused) == locks
    if locks:
        assert refused[0].startswith(f"step 0 of {path} is being encoded by another process")
        assert "\n" not in refused[0]


@pytest.fixture
def while_encoding(make_series: Maker) -> Callable[..., Any]:
    """``with while_encoding(path, config, …)``: another encode is at its first step."""

    @contextmanager
    def encoding(path: Path, config: EncodeConfig, **keywords: Any) -> Iterator[None]:
        at_work, go_on = threading.Event(), threading.Event()

        def progress(fraction: float, message: str) -> None:
            if "pass" in message:
                at_work.set()
                assert go_on.wait(60)
                raise Cancelled("enough")

        def work() -> None:
            with pytest.raises(Cancelled):
                encode(make_series(), path, config=config, progress=progress, **keywords)

        thread = threading.Thread(target=work)
        thread.start()
        assert at_work.wait(60)
        try:
            yield
        finally:
            go_on.set()
            thread.join()

    return encoding


def test_what_others_need_is_not_replaced(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    prior: Prior,
    learning: PretrainConfig,
    while_encoding: Any,
) -> None:
    path = tmp_path / "run.minr"
    meta = dataclasses.replace(quick, init="meta")
    encode(make_series(), path, config=meta, prior=prior, steps=[0])
    before = Archive.open(path).decode(0)
    other = pretrain(make_series(), dataclasses.replace(learning, outer_steps=3))
    with while_encoding(path, meta, prior=prior, steps=[1]):
        refused = pytest.raises(ArchiveError, match="being written by another process or filter")
        with refused:
            encode(make_series(), path, config=meta, prior=other, steps=[0])
        with refused:
            encode(make_series(phase=0.1), path, config=meta, prior=prior, overwrite=True)
        with (
            pytest.raises(ArchiveError, match="being written by another"),
            replacing(path),
        ):
            raise AssertionError("too late")
        assert (Archive.open(path).decode(0) == before).all(), "readers wait for nobody"


def test_a_step_that_others_start_from_is_not_replaced(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, while_encoding: Any
) -> None:
    path = tmp_path / "run.minr"
    chain = dataclasses.replace(quick, init="previous")
    encode(make_series(), path, config=chain, steps=[0, 1])
    with (
        while_encoding(path, chain, steps=[2]),
        pytest.raises(ArchiveError, match=r"step 1 of .* is being encoded"),
    ):
        encode(make_series(), path, config=dataclasses.replace(quick, seed=3), steps=[1])


def test_another_network_that_begins_at_the_same_time_is_refused(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    path = tmp_path / "run.minr"
    other = dataclasses.replace(quick, siren=SirenConfig(8, 1, 10.0))
    tried: list[str] = []

    def begin(fraction: float, message: str) -> None:
        if "pass" in message and not tried:
            tried.append(message)
            encode(make_series(), path, config=other, steps=[3])

    with pytest.raises(ArchiveError, match="holds networks of width 8"):
        encode(make_series(), path, config=quick, steps=[0], progress=begin)
    assert Archive.open(path).steps == [3]


def test_two_pretrains_into_one_file(
    tmp_path: Path, make_series: Maker, learning: PretrainConfig
) -> None:
    path = tmp_path / "p.safetensors"
    refused: list[str] = []

    def second(fraction: float, message: str) -> None:
        if not refused:
            with pytest.raises(ArchiveError) as error:
                pretrain(make_series(), learning, path)
            refused.append(str(error.value))

    pretrain(make_series(), learning, path, progress=second)
    assert refused == [
        f"{path} is being written by another process or filter; wait for it, or choose another file"
    ]
    assert Prior.load(path).finished
    assert sorted(tmp_path.iterdir()) == [path]


def test_processes_share_the_steps_and_a_killed_one_leaves_them_to_others(folder: Path) -> None:
    def begin(*more: str) -> subprocess.Popen[str]:
        return start(folder, "encode", "flow", "-o", "run.minr", *NETWORK, *ENCODE, *more)

    killed = begin("--steps", "0,1,2", "--epochs", "1000000")
    wait_for(folder / "run" / ".lock", killed)
    same, others = begin("--steps", "2"), begin("--steps", "3:6")
    out, error = same.communicate(timeout=60)
    assert (same.returncode, out) == (2, "")
    assert error == (
        "metainr: error: step 2 of run.minr is being encoded by another process or filter; wait for"
        " it, or choose other steps (--steps)\n"
    )
    killed.kill()
    killed.communicate(timeout=60)
    for process in (others, begin("--steps", "0:3")):
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    archive = Archive.open(folder / "run.minr")
    assert archive.steps == [0, 1, 2, 3, 4, 5]
    assert archive.damaged() == []
    assert not list((folder / "run").glob(".*"))
