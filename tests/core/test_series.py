"""Series in memory: what is read, checked and refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metainr_core.errors import Cancelled, MetaINRWarning, SeriesError
from metainr_core.grid import Grid
from metainr_core.series import ArraySeries, Progress, Range, open_series

Maker = Callable[..., ArraySeries]


def field(shape: tuple[int, ...] = (3, 4, 5)) -> np.ndarray:
    return np.arange(math.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("kind", ["?", "u1", "i2", "i8", "f2", "f4", ">f4", "f8"])
def test_any_real_type_is_read_as_float32(kind: str) -> None:
    values = (field() % 2).astype(kind)
    read = ArraySeries([values]).read(0)
    assert read.dtype == np.float32
    assert read.shape == (3, 4, 5, 1)
    assert read.flags.c_contiguous
    assert (read[..., 0] == values).all()


@pytest.mark.parametrize("values", [field() * 1j, np.full((3, 4, 5), "a"), field().astype("O")])
def test_other_types_are_refused(values: np.ndarray) -> None:
    with pytest.raises(SeriesError, match=r'step 0 of the arrays: array "values" is of type'):
        ArraySeries([values]).read(0)


def test_the_grid_is_taken_from_the_first_array() -> None:
    series = ArraySeries([field((3, 4, 5, 2))] * 2)
    assert series.grid == Grid((5, 4, 3))
    assert series.components == 2
    assert len(series) == 2
    assert series.times == (0.0, 1.0)


def test_a_step_of_another_shape_is_named() -> None:
    series = ArraySeries([field(), field((3, 4, 6))])
    with pytest.raises(SeriesError, match=r"step 1 of the arrays.*\(3, 4, 6, 1\).*\(3, 4, 5, 1\)"):
        series.read(1)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (1, 2, 3, 4, 5)])
def test_arrays_need_three_or_four_axes(shape: tuple[int, ...]) -> None:
    with pytest.raises(SeriesError, match=f"step 0 has {len(shape)} axes"):
        ArraySeries([np.zeros(shape)])


def test_no_steps_are_refused() -> None:
    with pytest.raises(SeriesError, match="the arrays has no time steps"):
        ArraySeries([])


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0], "1 times for 2 steps"),
        ([0.0, 1.0, 2.0], "3 times for 2 steps"),
        ([1.0, 1.0], "step 1 .* 1.0 after 1.0"),
        ([1.0, 0.5], "step 1 .* 0.5 after 1.0"),
        ([0.0, math.nan], "step 1 .* nan"),
        ([-math.inf, 0.0], "step 0 .* -inf"),
        ([0.0, math.inf], "step 1 .* inf"),
    ],
)
def test_times_must_be_finite_and_increase(times: list[float], message: str) -> None:
    with pytest.raises(SeriesError, match=message):
        ArraySeries([field()] * 2, times=times)


def test_non_finite_values_are_counted_and_located() -> None:
    values = field()
    values[2, 1, 3] = np.nan
    values[2, 2, 2] = -np.inf
    series = ArraySeries([field(), values], array="speed", name="run.pvd")
    series.read(0)
    with pytest.raises(SeriesError) as error:
        series.read(1)
    assert str(error.value) == (
        'step 1 of run.pvd: array "speed" has 2 non-finite values'
        " (first at x, y, z = (3, 1, 2)); clean them or pass --ignore-nonfinite"
    )


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize(("kind", "size"), [("f8", 1e300), ("f8", -2e38), ("f4", 2e38)])
def test_values_too_large_are_refused(kind: str, size: float, ignore: bool) -> None:
    """They are not to be cleaned, and no mean stands for them."""
    values = field().astype(kind)
    values[0, 0, 1], values[0, 0, 2] = size, np.nan
    message = rf"1 values too large .* {size:.3g} at x, y, z = \(1, 0, 0\); scale them to".replace(
        "+", r"\+"
    )
    with pytest.raises(SeriesError, match=message):
        ArraySeries([values], ignore_nonfinite=ignore).read(0)
    ArraySeries([field() * np.float32(1e36)]).read(0)


def test_non_finite_values_can_be_replaced_by_the_mean() -> None:
    values = field()
    values[0, 0, 0] = np.nan
    read = ArraySeries([values], ignore_nonfinite=True).read(0)[..., 0]
    assert read[0, 0, 0] == pytest.approx(np.arange(1, 60).mean())
    assert (read.ravel()[1:] == np.arange(1, 60)).all()
    assert np.isnan(values[0, 0, 0])
    with pytest.raises(SeriesError, match="all; nothing is left"):
        ArraySeries([field() * np.nan], ignore_nonfinite=True).read(0)


def test_each_component_has_a_mean_of_its_own() -> None:
    values = np.stack([field(), 1000 + field()], axis=-1)
    values[0, 0, 0] = np.inf
    read = ArraySeries([values], ignore_nonfinite=True).read(0)
    assert read[0, 0, 0] == pytest.approx([30, 1030])
    values[..., 1] = np.nan
    with pytest.raises(SeriesError, match="all of one of its components; nothing is left"):
        ArraySeries([values], ignore_nonfinite=True).read(0)


def test_rounding_is_told_once_with_its_size() -> None:
    values = 1e9 + np.linspace(0, 400, 60).reshape(3, 4, 5)
    series = ArraySeries([values, values], array="p")
    with pytest.warns(MetaINRWarning) as told:
        first, *_ = [series.read(step) for step in (0, 1, 0)]
    [warning] = told
    text = str(warning.message)
    assert 'step 0 of the arrays: array "p" is float64, and float32' in text
    off = np.abs(values - first[..., 0]).max()
    assert f"off by up to {off:.3g}, {off / 4:.2g} % of its range" in text
    ArraySeries([values * 0 + 1e9 + 0.1]).read(0)  # of a range that is not there, no share
    ArraySeries([field() / 3]).read(0)


def test_the_scan_reads_each_step_once(make_series: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    series = make_series(steps=3)
    reads: list[int] = []
    read = series.read

    def note(step: int) -> np.ndarray:
        reads.append(step)
        return read(step)

    monkeypatch.setattr(series, "read", note)
    scans = series.scan()
    assert series.scan() is scans
    assert reads == [0, 1, 2]
    for step, scan in enumerate(scans):
        values = read(step)
        assert scan.range == Range((values.min(),), (values.max(),))
    assert series.value_range().low[0] == min(s.range.low[0] for s in scans)


def test_digests_tell_values_and_times_apart(make_series: Maker) -> None:
    digests = [
        make_series(steps=1).scan()[0].digest,
        make_series(steps=1, phase=1e-3).scan()[0].digest,
        make_series(steps=1, times=[0.5]).scan()[0].digest,
    ]
    assert len(set(digests)) == 3
    assert make_series(steps=2).scan()[0].digest == digests[0]


def test_a_scan_can_be_cancelled(make_series: Maker, stop_after: Callable[[int], Progress]) -> None:
    series = make_series()
    with pytest.raises(Cancelled):
        series.scan(stop_after(2))
    assert len(series.scan()) == 4


def test_ranges_are_per_component() -> None:
    values = np.stack([field() - 3, 2 * field(), 0 * field() + 7], axis=-1)
    found = Range.of(values)
    assert found == Range((-3.0, 0.0, 7.0), (56.0, 118.0, 7.0))
    assert found.width == 118
    assert Range.union([found, Range((0.0, -1.0, 8.0), (1.0, 1.0, 9.0))]) == Range(
        (-3.0, -1.0, 7.0), (56.0, 118.0, 9.0)
    )


@pytest.mark.parametrize("size", [1e-42, 1e-30, 1.0, 3.4e38])
def test_the_scale_maps_the_range_to_minus_one_to_one(size: float) -> None:
    low, high = float(np.float32(-size)), float(np.float32(size))
    centre, half = Range((low,), (high,)).scale()
    assert centre.dtype == half.dtype == np.float32
    ends = (np.array([low, high], np.float32) - centre) / half
    assert ends == pytest.approx([-1, 1], rel=1e-2)


def test_a_constant_component_is_scaled_as_the_others() -> None:
    """With a scale of its own, the network's error in it would dwarf a field in small units."""
    _, half = Range((0.0, 5.0, -1e-6), (2e-6, 5.0, 2e-6)).scale()
    assert half == pytest.approx([1e-6, 1.5e-6, 1.5e-6])
    centre, half = Range((4.0,), (4.0,)).scale()
    assert (centre[0], half[0]) == (4, 1)
    assert Range((0.0,), (1e-45,)).scale()[1] == 1


@pytest.mark.parametrize("name", ["nothing.pvd", "nothing.vti", "nothing*.vti", "nothing"])
def test_what_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SeriesError, match="nothing") as error:
        open_series(tmp_path / name)
    assert "\n" not in str(error.value)


def test_an_empty_folder_is_no_series(tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match=r"has no dataset\.json; name a \.pvd"):
        open_series(tmp_path)
