"""Archives that are damaged, cut short or too new, and a disk that is full."""

from __future__ import annotations

import copy
import errno
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from metainr_core.archive import FORMAT_VERSION, Archive
from metainr_core.errors import ArchiveError, MetaINRError
from metainr_core.storage import read_metadata, save_tensors, siren_tensors
from metainr_core.weights import digest
from tests.core.archives import HEADER, INFO, networks, record, strict_json


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_full_disk_loses_nothing(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    before = {p: p.read_bytes() for p in archive.path.parent.rglob("*") if p.is_file()}

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    for step in (1, 3):
        with pytest.raises(ArchiveError, match="No space left on device"):
            archive.write_step(record(step), networks(8))
    archive.write_index()  # says what the file says already
    archive.info["encode"] = "other settings"
    with pytest.raises(ArchiveError):
        archive.write_index()
    with pytest.raises(ArchiveError):
        Archive.create(archive.path, HEADER, {**INFO, "series": "another"})
    monkeypatch.undo()
    after = {p: p.read_bytes() for p in archive.path.parent.rglob("*") if p.is_file()}
    assert after == before


def test_a_newer_step_is_not_guessed_at(archive: Archive) -> None:
    path = archive.step_path(3)
    metadata = {**read_metadata(archive.step_path(0)), "version": FORMAT_VERSION + 1}
    metadata["record"]["step"] = 3
    metadata["digest"] = digest(metadata, networks(3))
    save_tensors(path, siren_tensors(networks(3)), metadata)
    assert Archive.open(archive.path).steps == [0, 1, 2]
    archive.path.unlink()
    for step in range(3):
        archive.step_path(step).unlink()
    with pytest.raises(ArchiveError, match="format version 4"):
        Archive.open(archive.path)


def leaves(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, (*path, key))
    elif isinstance(data, list):
        for key, value in enumerate(data[:2]):
            yield from leaves(value, (*path, key))


@pytest.mark.parametrize(
    "value", [None, "x", -1, 1.5, float("inf"), float("nan"), [], {}, KeyError]
)
def test_a_damaged_index_gives_one_line_or_works(archive: Archive, value: Any) -> None:
    """Every entry of the index in turn is lost or replaced by nonsense."""
    index = strict_json(archive.path)
    paths = list(leaves(index))
    assert len(paths) > 55
    messages: list[str] = []
    for path in paths:
        broken = copy.deepcopy(index)
        place = broken
        for key in path[:-1]:
            place = place[key]
        if value is KeyError:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        archive.path.write_text(json.dumps(broken))
        try:
            opened = Archive.open(archive.path)
            assert [r.step for r in opened.records] == opened.steps
            assert opened.total_bytes > 0
            opened.decode(0)
        except MetaINRError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert not [m for m in messages if "\n" in m]


@pytest.mark.parametrize("length", [0, 7, 8, 100, 400, -1])
def test_a_cut_step_is_reported_when_it_is_asked_for(archive: Archive, length: int) -> None:
    path = archive.step_path(1)
    path.write_bytes(path.read_bytes()[:length])
    opened = Archive.open(archive.path)
    assert opened.decode(0).shape == (4, 5, 6, 1)
    with pytest.raises(ArchiveError, match=r"its sha256 differs.*encode step 1 again") as error:
        opened.decode(1)
    assert "\n" not in str(error.value)


def test_changed_bits_are_noticed(archive: Archive) -> None:
    path = archive.step_path(1)
    good = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(good), 60):
        bad = bytearray(good)
        bad[place] ^= 1 << int(place) % 8
        path.write_bytes(bytes(bad))
        opened = Archive.open(archive.path)
        with pytest.raises(ArchiveError):
            opened.decode(1)
    # Without the index to compare with, the step's own digest tells.
    archive.path.unlink()
    bad = bytearray(good)
    bad[-5] ^= 1
    path.write_bytes(bytes(bad))
    assert Archive.open(archive.path).steps == [0, 2]


def test_a_step_that_is_changed_while_open_is_noticed(archive: Archive) -> None:
    save_tensors(archive.step_path(1), siren_tensors(networks(4)), {})
    with pytest.raises(ArchiveError, match="sha256"):
        archive.decode(1)


def test_without_a_good_step_nothing_can_be_rebuilt(archive: Archive) -> None:
    archive.path.unlink()
    for step in range(3):
        archive.step_path(step).write_bytes(b"no")
    with pytest.raises(ArchiveError, match=r"run\.minr is lost and .* cannot replace it"):
        Archive.open(archive.path)
    assert not archive.path.exists()


def test_one_bad_step_does_not_stop_the_rebuilding(archive: Archive) -> None:
    archive.path.unlink()
    archive.step_path(0).write_bytes(b"")
    (archive.folder / "step_x.safetensors").write_bytes(b"")
    assert Archive.open(archive.path).steps == [1, 2]
