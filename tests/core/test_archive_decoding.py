"""Values of an archive's steps: on any grid, and as recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metainr_core.archive import Archive
from metainr_core.config import EncodeConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import MetaINRError
from metainr_core.grid import Grid
from metainr_core.metrics import Errors
from metainr_core.series import ArraySeries

Maker = Callable[..., ArraySeries]


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
