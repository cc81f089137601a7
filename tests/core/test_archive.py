"""Archives on disk: steps, rebuilding, and other writers."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metainr_core.archive import Archive
from metainr_core.errors import ArchiveError
from metainr_core.grid import Grid
from metainr_core.hashing import file_sha256
from metainr_core.metrics import psnr
from metainr_core.series import ArraySeries, Range
from tests.core.archives import HEADER, INFO, networks, record, strict_json

Maker = Callable[..., ArraySeries]


def test_an_archive_survives(archive: Archive) -> None:
    opened = Archive.open(archive.path)
    assert opened.header == HEADER
    assert opened.info == INFO
    assert opened.steps == [0, 1, 2]
    assert opened.times == [0.0, 0.5, 1.0]
    assert (opened.array, opened.components, opened.grid) == ("speed", 1, Grid((6, 5, 4)))
    assert opened.records == archive.records
    for step in range(3):
        pairs = zip(opened.load_step(step).tensors, networks(step).tensors, strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_figures_are_those_of_the_files(archive: Archive) -> None:
    for row in Archive.open(archive.path).records:
        path = archive.step_path(row.step)
        assert row.bytes == path.stat().st_size
        assert row.sha256 == file_sha256(path)
        assert row.ratio == pytest.approx(4 * 120 / row.bytes)
        assert row.psnr == pytest.approx(psnr(0.09, 3.0))
    (archive.folder / "prior.safetensors").write_bytes(b"12345")
    files = [p for p in archive.path.parent.rglob("*") if p.is_file()]
    assert archive.total_bytes == sum(p.stat().st_size for p in files)
    assert archive.ratio == pytest.approx(3 * 480 / archive.total_bytes)


def test_the_series_range_covers_every_step(archive: Archive) -> None:
    archive.write_step(record(3, value_high=(9.0,)), networks(3))
    assert archive.series_range == Range((-1.0,), (9.0,))
    assert archive.record(0).psnr_series == pytest.approx(psnr(0.09, 10.0))
    assert archive.record(0).psnr == 20.0


def test_the_index_is_rebuilt_from_the_steps(archive: Archive) -> None:
    before = strict_json(archive.path)
    archive.path.unlink()
    assert Archive.exists(archive.path)
    rebuilt = Archive.open(archive.path)
    assert strict_json(archive.path) == before
    assert rebuilt.decode(1).shape == (4, 5, 6, 1)


def test_steps_of_two_writers_both_survive(archive: Archive) -> None:
    first, second = Archive.open(archive.path), Archive.open(archive.path)
    first.write_step(record(3), networks(3))
    second.write_step(record(4), networks(4))
    first.write_index()
    second.write_index()
    opened = Archive.open(archive.path)
    assert opened.steps == [0, 1, 2, 3, 4]
    assert torch.equal(opened.load_step(3).weights[0], networks(3).weights[0])


def test_a_step_replaced_behind_the_index_is_noticed(archive: Archive) -> None:
    """Killed between writing a step again and the index: sizes may be equal, contents are not."""
    index = archive.path.read_bytes()
    old = archive.record(1)
    archive.write_step(record(1, seconds=2.25), networks(9))
    archive.path.write_bytes(index)
    opened = Archive.open(archive.path)
    assert opened.record(1).bytes == old.bytes, "the sizes must agree for this test to mean much"
    assert opened.record(1).seconds == 2.25
    assert torch.equal(opened.load_step(1).weights[0], networks(9).weights[0])


def test_a_deleted_step_is_no_longer_there(archive: Archive) -> None:
    archive.step_path(1).unlink()
    opened = Archive.open(archive.path)
    assert opened.steps == [0, 2]
    with pytest.raises(ArchiveError, match=r"holds no step 1; it holds steps 0, 2"):
        opened.decode(1)
    with pytest.raises(ArchiveError, match="cannot be read: No such file"):
        archive.decode(1)


def test_a_step_of_another_archive_is_not_adopted(archive: Archive, tmp_path: Path) -> None:
    header = dataclasses.replace(HEADER, array="pressure")
    other = Archive.create(tmp_path / "other.minr", header, INFO)
    other.write_step(record(7), networks(7))
    shutil.copy(other.step_path(7), archive.step_path(7))
    shutil.copy(archive.step_path(1), archive.step_path(8))  # says it is step 1
    assert Archive.open(archive.path).steps == [0, 1, 2]


def test_creating_anew_removes_the_old_steps(archive: Archive) -> None:
    """Else they would be taken for steps of the new archive when its header is the same."""
    (archive.folder / "notes.txt").touch()
    new = Archive.create(archive.path, HEADER, INFO)
    new.write_step(record(1), networks(5))
    new.write_index()
    assert Archive.open(archive.path).steps == [1]
    assert (archive.folder / "notes.txt").exists()


def test_what_others_write_meanwhile_is_no_damage(archive: Archive) -> None:
    opened = Archive.open(archive.path)
    archive.write_step(record(3), networks(3))
    archive.write_step(record(1, seconds=2.5), networks(7))
    assert opened.damaged() == []
    assert opened.steps == [0, 1, 2, 3]
    archive.step_path(3).write_bytes(archive.step_path(3).read_bytes()[:-1])
    assert opened.damaged() == [3]
