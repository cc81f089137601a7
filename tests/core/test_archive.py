"""Archives on disk: steps and index, rebuilding, other writers, and decoding."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metainr_core.archive import FORMAT_VERSION, Archive
from metainr_core.config import EncodeConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import ArchiveError, MetaINRError
from metainr_core.grid import Grid
from metainr_core.hashing import file_sha256
from metainr_core.metrics import Errors, psnr
from metainr_core.series import ArraySeries, Range
from metainr_core.storage import read_metadata
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


def test_names_are_those_of_the_format(archive: Archive) -> None:
    assert archive.folder.name == "run"
    assert {p.name for p in archive.folder.iterdir()} == {
        f"step_{step:06d}.safetensors" for step in range(3)
    }
    index = strict_json(archive.path)
    assert (index["format"], index["version"]) == ("minr", FORMAT_VERSION)
    assert index["grid"]["dims"] == [6, 5, 4]
    assert index["bricks"]["shape"] == [4, 5, 6]
    assert index["array"] == "speed"
    assert [row["step"] for row in index["steps"]] == [0, 1, 2]


def test_the_series_range_covers_every_step(archive: Archive) -> None:
    archive.write_step(record(3, value_high=(9.0,)), networks(3))
    assert archive.series_range == Range((-1.0,), (9.0,))
    assert archive.record(0).psnr_series == pytest.approx(psnr(0.09, 10.0))
    assert archive.record(0).psnr == 20.0


def test_no_infinity_gets_into_the_files(archive: Archive) -> None:
    exact = record(3, mean_squared_error=0.0, psnr=np.inf, psnr_series=np.inf, max_error=0.0)
    archive.write_step(exact, networks(3))
    flat = record(4, psnr=-np.inf, value_low=(1.0,), value_high=(1.0,))
    archive.write_step(flat, networks(4))
    archive.write_index()
    rows = strict_json(archive.path)["steps"]
    assert [row["psnr"] is None for row in rows] == [False] * 3 + [True] * 2
    opened = Archive.open(archive.path)
    assert opened.record(3).psnr == opened.record(3).psnr_series == np.inf
    assert opened.record(4).psnr == -np.inf
    json.dumps(read_metadata(opened.step_path(3)), allow_nan=False)


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


def test_decode_on_other_grids(tmp_path: Path, make_series: Maker, quick: EncodeConfig) -> None:
    grid = Grid((12, 10, 8), (0.5, 1.0, 2.0), (3.0, 0.0, -1.0), start=(2, 0, -1))
    made = encode(make_series(steps=1, grid=grid), tmp_path / "run.minr", config=quick)
    archive = Archive.open(made.path)
    whole = archive.decode(0)
    assert whole.dtype == np.float32
    assert whole.shape == (8, 10, 12, 1)
    # World box of the voxels 3 to 6, 1 to 4 and 5 to 7.
    part = archive.grid.cropped([5.5, 7.0, 1.0, 4.0, 7.0, 11.0])
    assert archive.decode(0, part) == pytest.approx(whole[5:8, 1:5, 3:7], abs=1e-6)
    fine = archive.decode(0, archive.grid.resampled((23, 19, 15)))
    assert fine[::2, ::2, ::2] == pytest.approx(whole, abs=1e-5)
    assert archive.decode(0, archive.grid.scaled(0.5)).shape == (4, 5, 6, 1)
    with pytest.raises(MetaINRError, match="reaches index"):
        archive.decode(0, Grid((12, 10, 8)))


def test_an_absurd_grid_is_refused_not_killed(archive: Archive) -> None:
    with pytest.raises(MetaINRError, match=r"need .* GiB, which this machine does not have free"):
        archive.decode(0, archive.grid.resampled((10**15, 1, 1)))


@pytest.mark.parametrize("brick_size", [0, 5])
def test_recorded_figures_come_out_of_the_files(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, brick_size: int
) -> None:
    siren = SirenConfig(8, 1, 10.0, brick_size=brick_size)
    series = make_series(steps=3)
    made = encode(series, tmp_path / "run.minr", config=dataclasses.replace(quick, siren=siren))
    width = series.value_range().width
    archive = Archive.open(made.path)
    for row in archive.records:
        original, decoded = series.read(row.step), archive.decode(row.step)
        errors = Errors.between(original, decoded)
        assert row.max_error == pytest.approx(errors.largest, rel=1e-6)
        assert row.mean_squared_error == pytest.approx(errors.mean_squared, rel=1e-6)
        step_range = float(original.max() - original.min())
        mse = float(((original - decoded).astype(np.float64) ** 2).mean())
        assert row.psnr == pytest.approx(10 * np.log10(step_range**2 / mse), abs=1e-4)
        assert row.psnr_series == pytest.approx(10 * np.log10(width**2 / mse), abs=1e-4)
        assert row.bytes == archive.step_path(row.step).stat().st_size
