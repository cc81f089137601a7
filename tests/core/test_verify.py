"""``verify`` finds whatever was changed in an archive, its files or its series."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig
from metainr_core.encoding import encode
from metainr_core.errors import MetaINRError
from metainr_core.metrics import psnr
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries
from metainr_core.verify import verify

Maker = Callable[..., ArraySeries]


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, make_series: Maker, prior: Prior, quick: EncodeConfig
) -> Path:
    """An archive whose steps 1 and 2 are differences to the step before."""
    path = tmp_path_factory.mktemp("made") / "run.minr"
    config = dataclasses.replace(quick, init="previous", learning_rate=0.0)
    encode(make_series(steps=3), path, prior=prior, config=config)
    return path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy, to be tampered with."""
    path = tmp_path / "run.minr"
    shutil.copy(made, path)
    shutil.copytree(made.with_suffix(""), tmp_path / "run")
    return path


def file(run: Path, step: int) -> Path:
    return run.with_suffix("") / f"step_{step:06d}.safetensors"


def edit(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    index = json.loads(run.read_text())
    change(index)
    run.write_text(json.dumps(index))


def whats(run: Path, series: ArraySeries | None = None) -> dict[int | None, list[str]]:
    """What differs, by step."""
    found: dict[int | None, list[str]] = {}
    for finding in verify(run, series, device="cpu").findings:
        found.setdefault(finding.step, []).append(finding.what)
    return found


def test_what_encode_wrote_is_as_it_says(run: Path, make_series: Maker) -> None:
    before = {p: p.read_bytes() for p in run.parent.rglob("*") if p.is_file()}
    assert not verify(run).findings
    found = verify(run, make_series(steps=3), device="cpu")
    assert not found.findings
    for check, record in zip(found.steps, Archive.open(run).records, strict=True):
        assert (check.psnr, check.psnr_series) == (record.psnr, record.psnr_series)
        assert (check.max_error, check.off) == (record.max_error, 0)
    assert {p: p.read_bytes() for p in run.parent.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("figure", "what"),
    [
        ("psnr", "psnr"),
        ("psnr_series", "psnr_series"),
        ("max_error", "max_error (index, file)"),
        ("mean_squared_error", "mean_squared_error (index, file)"),
        ("bytes", "bytes"),
        ("ratio", "ratio"),
        ("seconds", "seconds (index, file)"),
        ("time", "time (index, file)"),
    ],
)
def test_a_changed_figure_in_the_index(run: Path, figure: str, what: str) -> None:
    def change(index: dict[str, Any]) -> None:
        value = index["steps"][1][figure]
        index["steps"][1][figure] = value + 1 if figure == "bytes" else value * 1.001

    edit(run, change)
    found = whats(run)
    assert list(found) == [1]
    assert what in found[1]


@pytest.mark.parametrize("figure", ["sha256", "data", "settings"])
def test_a_changed_fingerprint_in_the_index(run: Path, figure: str) -> None:
    edit(run, lambda index: index["steps"][1].update({figure: "0" * 64}))
    assert 1 in whats(run)


def test_changed_ranges_in_the_index(run: Path, make_series: Maker) -> None:
    edit(run, lambda index: index["info"]["series_range"].update(high=[9.0]))
    assert "series_range" in whats(run, make_series(steps=3))[None]
    edit(run, lambda index: index["value_range"].update(high=[9.0]))
    assert "identity" in whats(run)[None]


def test_a_changed_byte(run: Path, make_series: Maker) -> None:
    path = file(run, 0)
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    found = whats(run, make_series(steps=3))
    # The others are differences to it.
    assert set(found) == {0, 1, 2}
    assert "sha256" in found[0]


def test_swapped_and_missing_files(run: Path) -> None:
    one, two = file(run, 1), file(run, 2)
    data = one.read_bytes(), two.read_bytes()
    one.write_bytes(data[1])
    two.write_bytes(data[0])
    assert set(whats(run)) == {1, 2}
    one.write_bytes(data[0])
    two.unlink()
    (finding,) = verify(run).findings
    assert finding.step == 2
    assert "does not exist" in str(finding)


def test_a_foreign_file(run: Path) -> None:
    file(run, 7).write_bytes(file(run, 1).read_bytes())
    assert whats(run) == {7: ["file"]}


def test_a_step_that_the_index_lacks_is_checked_too(run: Path, make_series: Maker) -> None:
    edit(run, lambda index: index["steps"].pop())
    found = verify(run, make_series(steps=3), device="cpu")
    assert not found.findings
    assert [check.step for check in found.steps] == [0, 1, 2]


def test_figures_that_nobody_measured(run: Path, make_series: Maker) -> None:
    """Consistent in index and file, as a program that cheats would write them."""
    archive = Archive.open(run)
    for step in archive.steps:
        siren = archive.load_step(step)
        record = archive.record(step)
        error = record.mean_squared_error / 4
        better = dataclasses.replace(
            record,
            mean_squared_error=error,
            psnr=psnr(error, record.value_range.width),
            weights="float32",
            reference="none",
        )
        archive.write_step(better, siren)
    archive.write_index()
    assert not whats(run)
    found = whats(run, make_series(steps=3))
    assert found == {key: ["mean_squared_error", "psnr", "psnr_series"] for key in range(3)}


def test_a_bound_that_is_not_kept(tmp_path: Path, make_series: Maker, quick: EncodeConfig) -> None:
    series, path = make_series(steps=1), tmp_path / "run.minr"
    encode(series, path, config=dataclasses.replace(quick, max_error=0.05))
    assert not whats(path, series)
    values = series.read(0).copy()
    values[2, 3, 4] += 0.2
    other = ArraySeries([values], grid=series.grid, array=series.array)
    assert {"data", "max_error", "bound"} <= set(whats(path, other)[0])


def test_another_series(run: Path, make_series: Maker) -> None:
    assert all("data" in w for s, w in whats(run, make_series(steps=3, phase=1.0)).items() if s)
    with pytest.raises(MetaINRError, match="dims"):
        verify(run, make_series(dims=(9, 9, 9)))
    with pytest.raises(MetaINRError, match="name the series it was made from"):
        verify(run, make_series(components=2))


def test_one_changed_value_in_the_series(run: Path, make_series: Maker) -> None:
    series = make_series(steps=3)
    values = [series.read(step).copy() for step in range(3)]
    values[1][0, 0, 0] = np.nextafter(values[1][0, 0, 0], np.float32(9))
    changed = ArraySeries(values, grid=series.grid, array=series.array)
    assert whats(run, changed) == {1: ["data"]}
    later = ArraySeries(values[:1], grid=series.grid, array=series.array, times=[0.5])
    found = whats(run, later)
    assert found[None] == ["steps of the series"]
    assert found[0] == ["time", "data"]
    assert found[1] == found[2] == ["step"]


def test_some_steps_only(run: Path) -> None:
    file(run, 2).unlink()
    assert not verify(run, steps=[0, 1]).findings
    with pytest.raises(MetaINRError, match="holds no step 5; it holds steps 0, 1, 2"):
        verify(run, steps=[5])


def test_damage_of_any_byte_is_found(run: Path) -> None:
    """Every 97th of two steps' files."""
    for path in (file(run, 0), file(run, 2)):
        data = path.read_bytes()
        for place in range(0, len(data), 97):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            assert verify(run, steps=[int(path.stem[-1])]).findings, place
        path.write_bytes(data)
