"""Archives on disk: steps and index, rebuilding, damage, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metainr_core.archive import FORMAT_VERSION, Archive, _digest
from metainr_core.config import EncodeConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import ArchiveError, MetaINRError
from metainr_core.grid import Grid
from metainr_core.hashing import file_sha256
from metainr_core.metrics import Errors, psnr
from metainr_core.records import Header, StepRecord
from metainr_core.series import ArraySeries, Range
from metainr_core.siren import initialize
from metainr_core.storage import read_metadata, save_tensors, siren_tensors

Maker = Callable[..., ArraySeries]

HEADER = Header("speed", 1, Grid((6, 5, 4)), SirenConfig(4, 0), Range((-1.0,), (2.0,)))
INFO: dict[str, Any] = {
    "series": "run.pvd",
    "series_range": {"low": [-1.0], "high": [2.0]},
}


def record(step: int, **changes: Any) -> StepRecord:
    fields: dict[str, Any] = {
        "step": step,
        "time": step / 2,
        "psnr": 20.0,
        "psnr_series": 20.0,
        "max_error": 0.5,
        "seconds": 1.25,
        "epochs": 2,
        "mean_squared_error": 0.09,
        "value_low": (-1.0,),
        "value_high": (2.0,),
        "data": "d",
        "settings": "s",
    }
    return StepRecord(**{**fields, **changes})


def networks(seed: int, header: Header = HEADER) -> Any:
    return initialize(header.siren, 1, 1, torch.Generator().manual_seed(seed))


def strict_json(path: Path) -> dict[str, Any]:
    """As parsers other than Python's read it: NaN and Infinity are no JSON."""

    def refuse(token: str) -> None:
        raise AssertionError(f"{path} holds {token}")

    data = json.loads(path.read_bytes(), parse_constant=refuse)
    assert isinstance(data, dict)
    return data


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive.create(tmp_path / "run.minr", HEADER, INFO)
    for step in range(3):
        made.write_step(record(step), networks(step))
    made.write_index()
    return made


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


def test_one_bad_step_does_not_stop_the_rebuilding(archive: Archive) -> None:
    archive.path.unlink()
    archive.step_path(0).write_bytes(b"")
    (archive.folder / "step_x.safetensors").write_bytes(b"")
    assert Archive.open(archive.path).steps == [1, 2]


def test_without_a_good_step_nothing_can_be_rebuilt(archive: Archive) -> None:
    archive.path.unlink()
    for step in range(3):
        archive.step_path(step).write_bytes(b"no")
    with pytest.raises(ArchiveError, match=r"run\.minr is lost and .* cannot replace it"):
        Archive.open(archive.path)
    assert not archive.path.exists()


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
    with pytest.raises(ArchiveError):
        archive.write_index()
    with pytest.raises(ArchiveError):
        Archive.create(archive.path, HEADER, INFO)
    monkeypatch.undo()
    after = {p: p.read_bytes() for p in archive.path.parent.rglob("*") if p.is_file()}
    assert after == before


@pytest.mark.parametrize("name", ["run", "run.pvd", "run.minr.txt", "run.MINR"])
def test_the_name_ends_in_minr(tmp_path: Path, name: str) -> None:
    for function in (Archive.open, Archive.exists):
        with pytest.raises(ArchiveError, match=r"an archive's name ends in \.minr"):
            function(tmp_path / name)
    with pytest.raises(ArchiveError, match=r"ends in \.minr"):
        Archive.create(tmp_path / name, HEADER, INFO)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.minr"
    with pytest.raises(ArchiveError, match="does not exist"):
        Archive.open(path)
    for text, message in [
        ("", "is damaged"),
        ("{", "is damaged"),
        ("[]", "is no .minr archive"),
        ("{}", "is no .minr archive"),
        ('{"format": "minr"}', "is damaged"),
        ("[" * 200_000, "is damaged"),
        ("\xff\xfe", "is damaged"),
    ]:
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(ArchiveError, match=message) as error:
            Archive.open(path)
        assert "\n" not in str(error.value)
    path.unlink()
    path.mkdir()
    with pytest.raises(ArchiveError, match="cannot be read: Is a directory"):
        Archive.open(path)


def test_a_newer_format_is_refused(archive: Archive) -> None:
    index = strict_json(archive.path)
    index["version"] = FORMAT_VERSION + 1
    archive.path.write_text(json.dumps(index))
    with pytest.raises(ArchiveError, match=r"format version 3; this Meta-INR reads up to 2"):
        Archive.open(archive.path)


def test_a_newer_step_is_not_guessed_at(archive: Archive) -> None:
    path = archive.step_path(3)
    metadata = {**read_metadata(archive.step_path(0)), "version": FORMAT_VERSION + 1}
    metadata["record"]["step"] = 3
    metadata["digest"] = _digest(metadata, networks(3))
    save_tensors(path, siren_tensors(networks(3)), metadata)
    assert Archive.open(archive.path).steps == [0, 1, 2]
    archive.path.unlink()
    for step in range(3):
        archive.step_path(step).unlink()
    with pytest.raises(ArchiveError, match="format version 3"):
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


@pytest.mark.parametrize("length", [0, 7, 8, 100, 1000, -1])
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
