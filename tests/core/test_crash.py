"""Kills and failing disks, a few of each: the campaigns are in tests/reliability."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from metainr_core import step_files
from metainr_core.archive import Archive
from metainr_core.errors import MetaINRError
from metainr_core.step_encoder import StepEncoder
from tests.reliability.jobs import Job, flow, leftovers, make_jobs, reset

RELIABILITY = Path(__file__).parents[1] / "reliability"
JOBS = {job.name: job for job in make_jobs(flow(8, 2), flow(8, 2, 1.0), epochs=1, rounds=3)}


def test_twelve_kills() -> None:
    script: list[str | Path] = [
        sys.executable,
        RELIABILITY / "kill.py",
        "--trials",
        "12",
        "--seed",
        "5",
    ]
    small = ["--size", "16", "--steps", "4", "--epochs", "2", "--rounds", "8"]
    only = ["--only", "encode, previous", "encode --overwrite", "pretrain, fomaml", "save data"]
    done = subprocess.run([*script, *small, *only], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, together = done.stdout.splitlines()
    _, kills, *_, kept, wrong = together.split()
    assert (kills, wrong) == ("12", "0")
    assert int(kept) > 0


@pytest.mark.parametrize("name", ["encode, meta", "encode --overwrite", "save data", "decode"])
@pytest.mark.parametrize("function", ["open", "fsync", "replace"])
def test_every_call_fails_once(tmp_path: Path, name: str, function: str) -> None:
    """Until a run has no n-th call any more."""
    job, folder, expected = prepared(tmp_path, name)
    for n in range(1, 100):
        reset(folder, tmp_path / "start")
        with failing(function, n) as calls:
            message = outcome(job, folder)
        assert not message or "No space left on device" in message
        goes_on(job, folder, expected)
        if calls[0] < n:
            break
    assert 3 < n < 100


@pytest.mark.parametrize("name", ["encode, meta", "pretrain, reptile", "decode"])
def test_files_cannot_grow(tmp_path: Path, name: str) -> None:
    """As on a full disk: the first bytes of a file are written."""
    job, folder, expected = prepared(tmp_path, name)
    made = [
        p for p in folder.rglob("*") if not (tmp_path / "start" / p.relative_to(folder)).exists()
    ]
    largest = max(path.stat().st_size for path in made if path.is_file())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 1, largest // 3, largest * 9 // 10):
        reset(folder, tmp_path / "start")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            message = outcome(job, folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "cannot be written" in message
        goes_on(job, folder, expected)


def prepared(tmp_path: Path, name: str) -> tuple[Job, Path, dict[str, Any]]:
    """A job, the folder of a finished run, and what that gave."""
    job, start, folder = JOBS[name], tmp_path / "start", tmp_path / "work"
    start.mkdir()
    job.prepare(start)
    reset(folder, start)
    job.run(folder)
    return job, folder, job.result(folder)


def outcome(job: Job, folder: Path) -> str:
    """The one line that the job ends with, which leaves nothing half done; or nothing."""
    try:
        job.run(folder)
    except MetaINRError as error:
        message = str(error)
    else:
        return ""
    assert "\n" not in message
    assert not leftovers(folder)
    return message


def goes_on(job: Job, folder: Path, expected: dict[str, Any]) -> None:
    kept = job.check(folder)
    job.run(folder)
    after = job.check(folder)
    assert {name: after.get(name) for name in kept} == kept
    assert job.result(folder) == expected
    assert not leftovers(folder)


@contextmanager
def failing(function: str, n: int) -> Iterator[list[int]]:
    """The n-th call that writes fails; gives how many there were."""
    real: Callable[..., Any] = getattr(os, function)
    calls = [0]

    def fail(*arguments: Any, **keywords: Any) -> Any:
        writes = function != "open" or arguments[1] & (os.O_WRONLY | os.O_RDWR)
        calls[0] += bool(writes)
        if writes and calls[0] == n:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, function, fail)
        yield calls


def test_steps_that_were_fitted_together_are_the_same_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may be killed when it has written one of them."""
    monkeypatch.setattr(StepEncoder, "steps_at_once", lambda self: 2)
    job, folder, expected = prepared(tmp_path, "encode, meta")
    for n in range(1, 5):
        reset(folder, tmp_path / "start")
        with failing("replace", n):
            assert outcome(job, folder)
        goes_on(job, folder, expected)


def test_a_disk_that_lies_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded is what was to be written."""
    job, folder, expected = prepared(tmp_path, "encode, random float16")
    reset(folder, tmp_path / "start")
    with monkeypatch.context() as patch:
        patch.setattr(
            step_files, "write_atomically", lambda path, data: path.write_bytes(data[:-9])
        )
        job.run(folder)
    assert Archive.open(folder / "run.minr").damaged() == [0, 1]
    job.run(folder)
    assert job.result(folder) == expected
