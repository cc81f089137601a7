"""The published code's data layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core.errors import SeriesError
from metainr_core.series import ArraySeries, open_series

Maker = Callable[..., ArraySeries]


@pytest.fixture
def folder(tmp_path: Path, make_series: Maker) -> Path:
    """Twelve steps: their numbers sort differently as text."""
    series = make_series(steps=12, dims=(6, 5, 4))
    (tmp_path / "speed").mkdir()
    for step in range(12):
        values = series.read(step).astype("<f4")
        (tmp_path / "speed" / f"flow-speed-{step + 1}.raw").write_bytes(values.tobytes())
    write_index(tmp_path)
    return tmp_path


def write_index(folder: Path, **changes: Any) -> None:
    index = {"name": "flow", "dims": [6, 5, 4], "vars": ["speed"], "total_samples": 12, **changes}
    (folder / "dataset.json").write_text(json.dumps(index))


def test_steps_come_in_numeric_order(folder: Path, make_series: Maker) -> None:
    expected = make_series(steps=12, dims=(6, 5, 4))
    for path in (folder, folder / "dataset.json"):
        series = open_series(path)
        assert (len(series), series.array, series.components) == (12, "speed", 1)
        assert series.grid.dims == (6, 5, 4)
        assert series.times == tuple(map(float, range(12)))
        for step in range(12):
            assert (series.read(step) == expected.read(step)).all()


def test_a_variable_is_chosen_by_name(folder: Path) -> None:
    write_index(folder, vars=["pressure", "speed"])
    assert open_series(folder, "speed").array == "speed"
    with pytest.raises(SeriesError, match="several variables: pressure, speed; name one"):
        open_series(folder)
    with pytest.raises(SeriesError, match='no variable "heat": pressure, speed'):
        open_series(folder, "heat")


def test_a_missing_file_in_the_middle_is_named(folder: Path) -> None:
    (folder / "speed" / "flow-speed-5.raw").unlink()
    with pytest.raises(SeriesError, match=r"has 11 files .* promises 12 \(flow-speed-5\.raw is"):
        open_series(folder)


def test_files_too_many_are_not_ignored(folder: Path) -> None:
    write_index(folder, total_samples=11)
    with pytest.raises(SeriesError, match=r"has 12 files .* promises 11"):
        open_series(folder)


def test_a_file_of_another_size_is_named(folder: Path) -> None:
    path = folder / "speed" / "flow-speed-3.raw"
    path.write_bytes(path.read_bytes()[:-4])
    series = open_series(folder)
    series.read(1)
    with pytest.raises(SeriesError, match=r"step 2 of .*has 476 bytes.*need 480 \(float32\)"):
        series.read(2)
    path.unlink()
    with pytest.raises(SeriesError, match=r"flow-speed-3\.raw cannot be read: No such file"):
        series.read(2)


def test_non_finite_values_are_found(folder: Path) -> None:
    path = folder / "speed" / "flow-speed-2.raw"
    values = np.frombuffer(path.read_bytes(), "<f4").copy()
    values[1 * 30 + 2 * 6 + 3] = np.nan
    path.write_bytes(values.tobytes())
    with pytest.raises(SeriesError, match=r"step 1 .*1 non-finite .*\(3, 2, 1\)"):
        open_series(folder).read(1)
    assert np.isfinite(open_series(folder, ignore_nonfinite=True).read(1)).all()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        '{"name": "flow", "dims": [6, 5], "vars": ["speed"], "total_samples": 12}',
        '{"name": "flow", "dims": [6, 5, 1e999], "vars": ["speed"], "total_samples": 12}',
        '{"name": "flow", "dims": null, "vars": ["speed"], "total_samples": 12}',
        '{"name": "flow", "dims": [6, 5, 4], "vars": 3, "total_samples": 12}',
        '{"name": "flow", "dims": [6, 5, 4], "vars": ["speed"], "total_samples": "many"}',
    ],
)
def test_a_damaged_index_is_refused(folder: Path, text: str) -> None:
    (folder / "dataset.json").write_text(text)
    with pytest.raises(SeriesError, match=r"is no dataset\.json") as error:
        open_series(folder)
    assert "\n" not in str(error.value)
