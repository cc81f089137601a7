"""A guaranteed largest error, from the settings to every value that is decoded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from metainr_core import fused
from metainr_core.archive import Archive
from metainr_core.config import WEIGHTS, EncodeConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import ArchiveError, MetaINRError, MetaINRWarning, SettingsError
from metainr_core.grid import Grid
from metainr_core.hashing import file_sha256
from metainr_core.metrics import Errors, psnr
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries, Range
from metainr_core.storage import read_metadata, save_tensors
from tests.core.archives import bytes_in, strict_json

Maker = Callable[..., ArraySeries]
BOUND = 0.01
BRICKS = SirenConfig(8, 1, 8.0, brick_size=6)


@pytest.fixture
def through_torch(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    serves = fused.serves

    def switch(on: bool) -> None:
        monkeypatch.setattr(fused, "serves", (lambda *_: False) if on else serves)

    return switch


@pytest.fixture
def bounded(tmp_path: Path, make_series: Maker, quick: EncodeConfig) -> Archive:
    """Two coded steps."""
    config = dataclasses.replace(quick, max_error=BOUND)
    return encode(make_series(steps=2), tmp_path / "run.minr", config=config)


def largest(original: np.ndarray, decoded: np.ndarray) -> float:
    assert decoded.dtype == np.float32
    assert decoded.shape == original.shape
    return float(np.abs(decoded.astype(np.float64) - original).max())


@pytest.mark.parametrize("bricks", [False, True])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("init", ["meta", "random", "previous"])
def test_every_value_is_within_the_bound(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    prior: Prior,
    through_torch: Callable[[bool], None],
    init: str,
    weights: str,
    bricks: bool,
) -> None:
    meta = init == "meta"
    siren = BRICKS if bricks else quick.siren
    if meta and bricks:
        siren = dataclasses.replace(prior.siren_config, brick_size=6)
        prior = dataclasses.replace(prior, siren_config=siren)
    series = make_series(steps=3, components=1 if meta else 2)
    config = dataclasses.replace(
        quick, siren=siren, init=init, weights=weights, key_interval=2, max_error=BOUND
    )
    start = prior if meta else None
    encode(series, tmp_path / "run.minr", config=config, prior=start)
    free = dataclasses.replace(config, max_error=0.0)
    plain = encode(series, tmp_path / "free.minr", config=free, prior=start)
    archive = Archive.open(tmp_path / "run.minr")
    assert archive.layout.bricks == (8 if bricks else 1)
    for step in range(3):
        original, record = series.read(step), archive.record(step)
        through_torch(False)
        decoded = archive.decode(step)
        errors = Errors.between(original, decoded)
        assert largest(original, decoded) <= BOUND < plain.record(step).max_error
        assert (record.bound, plain.record(step).bound) == (BOUND, 0.0)
        assert record.max_error == errors.largest
        assert record.mean_squared_error == errors.mean_squared
        assert record.psnr == psnr(errors.mean_squared, Range.of(original).width)
        assert record.psnr > plain.record(step).psnr + 3
        if (init, weights) != ("previous", "coded"):
            # What the networks are does not depend on it.
            assert torch.equal(archive.load_step(step).flat(), plain.load_step(step).flat())
        through_torch(True)
        assert largest(original, archive.decode(step)) <= BOUND


@pytest.mark.parametrize("siren", [SirenConfig(64, 2, 30.0), SirenConfig(33, 0, 30.0), BRICKS])
@pytest.mark.parametrize("encoded", [False, True])
def test_a_tight_bound_holds_from_one_library_to_the_other(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    through_torch: Callable[[bool], None],
    siren: SirenConfig,
    encoded: bool,
) -> None:
    """A few times the slack that is left to the machines."""
    series = make_series(steps=1)
    config = dataclasses.replace(quick, siren=siren, max_error=4e-5)
    through_torch(encoded)
    archive = encode(series, tmp_path / "run.minr", config=config)
    for decoding in (False, True):
        through_torch(decoding)
        assert largest(series.read(0), archive.decode(0)) <= 4e-5


def test_a_large_offset_keeps_the_bound_in_the_other_library(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    through_torch: Callable[[bool], None],
) -> None:
    """Pressure in Pa, temperature in K: far from 0, where float32 has steps of 6e-5."""
    series = ArraySeries([make_series(steps=1).read(0) + np.float32(1000)])
    config = dataclasses.replace(quick, siren=SirenConfig(64, 2, 10.0), max_error=1e-4)
    with pytest.raises(SettingsError, match="decoding on another machine may differ"):
        encode(series, tmp_path / "run.minr", config=config)
    config = dataclasses.replace(config, max_error=1e-3)
    archive = encode(series, tmp_path / "run.minr", config=config)
    for decoding in (False, True):
        through_torch(decoding)
        assert largest(series.read(0), archive.decode(0)) <= 1e-3


def test_training_in_bf16_is_decoded_in_fp32(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    series = make_series(steps=1)
    rows = []
    for bound in (0.0, BOUND):
        config = dataclasses.replace(quick, precision="bf16", max_error=bound)
        archive = encode(series, tmp_path / f"{bound}.minr", config=config)
        rows.append(archive.record(0))
    assert [r.precision for r in rows] == ["bf16", "fp32"]
    assert largest(series.read(0), archive.decode(0)) <= BOUND


@pytest.mark.parametrize("torch_decodes", [False, True])
@pytest.mark.parametrize("siren", [BRICKS, None])
def test_a_box_is_within_the_bound(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    through_torch: Callable[[bool], None],
    siren: SirenConfig | None,
    torch_decodes: bool,
) -> None:
    grid = Grid((12, 10, 8), spacing=(0.5, 2.0, 0.1), origin=(3.0, -1.0, 7.0))
    series = make_series(steps=1, components=2, grid=grid)
    config = dataclasses.replace(quick, siren=siren or quick.siren, max_error=BOUND)
    archive = encode(series, tmp_path / "run.minr", config=config)
    through_torch(torch_decodes)
    for x, y, z in [
        ((2, 9), (3, 8), (1, 6)),
        ((5, 6), (0, 10), (7, 8)),
        ((11, 12), (9, 10), (0, 1)),
    ]:
        ends = [
            o + s * i
            for o, s, r in zip(grid.origin, grid.spacing, (x, y, z), strict=True)
            for i in (r[0], r[1] - 1)
        ]
        part = archive.grid.cropped(ends)
        original = series.read(0)[slice(*z), slice(*y), slice(*x)]
        assert largest(original, archive.decode(0, part)) <= BOUND


@pytest.mark.parametrize(
    ("association", "dims", "own"),
    [
        ("point", (23, 19, 15), slice(None, None, 2)),
        ("point", (34, 28, 22), slice(None, None, 3)),
        ("cell", (36, 30, 24), slice(1, None, 3)),
    ],
)
def test_other_resolutions_are_within_the_bound_at_the_voxels(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    association: str,
    dims: tuple[int, int, int],
    own: slice,
) -> None:
    series = make_series(steps=1, grid=Grid((12, 10, 8), association=association))
    config = dataclasses.replace(quick, siren=BRICKS, max_error=BOUND)
    archive = encode(series, tmp_path / "run.minr", config=config)
    fine = archive.decode(0, archive.grid.resampled(dims))
    assert fine.shape == (*dims[::-1], 1)
    assert largest(series.read(0), fine[own, own, own]) <= BOUND


def test_between_the_voxels_the_correction_goes_on(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    """Halfway between two voxels, of a field that is smooth, the error is about as small."""
    series = make_series(steps=1)
    errors = []
    for bound in (0.0, BOUND):
        config = dataclasses.replace(quick, max_error=bound)
        archive = encode(series, tmp_path / f"{bound}.minr", config=config)
        twice = archive.grid.scaled(2)
        assert twice.dims == (24, 20, 16)
        z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (16, 20, 24)), indexing="ij")
        field = np.sin(2 * x) * np.cos(1.5 * y) + 0.5 * z * np.sin(x)
        decoded = archive.decode(0, twice)
        errors.append(np.abs(decoded[..., 0] - field).max())
        corners = slice(None, None, 23)
        ends = np.abs(decoded[0, 0, corners] - series.read(0)[0, 0, ::11]).max()
        assert ends <= (bound or 1)
    assert errors[1] < 5 * BOUND < errors[0]


def test_a_chain_with_a_bound_has_networks_as_small_as_one_without(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    """Rounding adds to what the networks miss, not to what is left with the residual."""
    codes = []
    for bound in (0.0, BOUND):
        config = dataclasses.replace(quick, init="previous", max_error=bound)
        archive = encode(make_series(), tmp_path / f"{bound}.minr", config=config)
        codes.append(sum(len(bytes_in(archive.step_path(s), "code")) for s in range(4)))
    assert codes[1] <= 1.1 * codes[0]


# What cannot be


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("first", [0, 1])
def test_a_bound_too_small_is_one_line(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, weights: str, first: int
) -> None:
    config = dataclasses.replace(quick, max_error=1e-6, weights=weights)
    with pytest.raises(
        SettingsError, match=rf"^step {first} of the arrays: max_error: the largest error is 1e-06"
    ) as error:
        encode(make_series(), tmp_path / "run.minr", config=config, steps=range(first, 4))
    assert "\n" not in str(error.value)
    assert "allow a larger error" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_one_thing_decides_the_size(quick: EncodeConfig) -> None:
    with pytest.raises(SettingsError, match=r"max_error is 0\.1; expected 0, as target_ratio is 8"):
        dataclasses.replace(quick, max_error=0.1, target_ratio=8.0)
    for wrong in (-1.0, np.inf, np.nan):
        with pytest.raises(SettingsError, match="max_error"):
            dataclasses.replace(quick, max_error=wrong)


# Files


def test_the_bound_is_a_setting(bounded: Archive, make_series: Maker, quick: EncodeConfig) -> None:
    config = dataclasses.replace(quick, max_error=BOUND / 2)
    with pytest.warns(MetaINRWarning, match="replacing steps 0, 1"):
        archive = encode(make_series(steps=2), bounded.path, config=config)
    assert [r.bound for r in Archive.open(bounded.path).records] == [BOUND / 2] * 2
    assert largest(make_series().read(1), archive.decode(1)) <= BOUND / 2
    with pytest.warns(MetaINRWarning, match="replacing steps 0, 1"):
        archive = encode(make_series(steps=2), bounded.path, config=quick)
    assert "residual" not in load_file(archive.step_path(0))
    assert archive.record(0).bound == 0


def test_without_its_index_the_bound_is_known(
    bounded: Archive, make_series: Maker, quick: EncodeConfig, request: pytest.FixtureRequest
) -> None:
    values, records = bounded.decode(1), bounded.records
    bounded.path.unlink()
    opened = Archive.open(bounded.path)
    assert opened.records == records
    assert np.array_equal(opened.decode(1), values)
    request.getfixturevalue("no_training")
    config = dataclasses.replace(quick, max_error=BOUND)
    assert encode(make_series(steps=2), bounded.path, config=config).records == records


def rewrite(archive: Archive, step: int, change: Callable[[dict[str, Any]], None]) -> Archive:
    """The archive with other tensors in a step's file, which the index is told to be right."""
    path = archive.step_path(step)
    metadata, tensors = read_metadata(path), load_file(path)
    change(tensors)
    save_tensors(path, tensors, metadata)
    index = strict_json(archive.path)
    index["steps"][step]["sha256"] = file_sha256(path)
    archive.path.write_text(json.dumps(index))
    return Archive.open(archive.path)


@pytest.mark.parametrize("place", [0, 5, 20, 30, 60, -1])
def test_a_damaged_residual_is_noticed(bounded: Archive, place: int) -> None:
    good, networks = bounded.decode(0), bounded.load_step(1).flat()

    def flip(tensors: dict[str, Any]) -> None:
        tensors["residual"][place] ^= 1

    opened = rewrite(bounded, 1, flip)
    assert opened.is_intact(1)
    path = bounded.step_path(1).name
    with pytest.raises(ArchiveError, match=rf"{path}: the residual .*; encode again") as error:
        opened.decode(1)
    assert "\n" not in str(error.value)
    # What is not damaged still works: the other step, and the networks.
    assert np.array_equal(opened.decode(0), good)
    assert torch.equal(opened.load_step(1).flat(), networks)


def test_a_lost_residual_is_noticed(bounded: Archive) -> None:
    opened = rewrite(bounded, 1, lambda tensors: tensors.pop("residual"))
    with pytest.raises(MetaINRError, match="tensor residual is missing"):
        opened.decode(1)


def test_a_cut_residual_is_noticed(bounded: Archive) -> None:
    def cut(tensors: dict[str, Any]) -> None:
        tensors["residual"] = tensors["residual"][:10].clone()

    with pytest.raises(ArchiveError, match="the residual is damaged"):
        rewrite(bounded, 1, cut).decode(1)


def test_a_residual_damaged_on_disk_is_noticed_and_mended(
    bounded: Archive, make_series: Maker, quick: EncodeConfig
) -> None:
    path = bounded.step_path(1)
    good = path.read_bytes()
    values = bounded.decode(1)
    path.write_bytes(good[:-20] + bytes([good[-20] ^ 1]) + good[-19:])
    with pytest.raises(ArchiveError, match="sha256 differs"):
        Archive.open(bounded.path).decode(1)
    config = dataclasses.replace(quick, max_error=BOUND)
    mended = encode(make_series(steps=2), bounded.path, config=config)
    assert np.array_equal(mended.decode(1), values)


def test_a_residual_damaged_on_disk_is_mended_without_an_index_too(
    bounded: Archive, make_series: Maker, quick: EncodeConfig
) -> None:
    values = bounded.decode(1)

    def flip(tensors: dict[str, Any]) -> None:
        tensors["residual"][-1] ^= 1

    rewrite(bounded, 1, flip)
    bounded.path.unlink()
    config = dataclasses.replace(quick, max_error=BOUND)
    mended = encode(make_series(steps=2), bounded.path, config=config)
    assert np.array_equal(mended.decode(1), values)


# Unusual fields


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_constant_step_among_others_is_bounded(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, weights: str
) -> None:
    arrays = [make_series(steps=1).read(0), np.full((8, 10, 12, 1), 0.123, np.float32)]
    config = dataclasses.replace(quick, weights=weights, max_error=1e-4)
    archive = encode(ArraySeries(arrays), tmp_path / "run.minr", config=config)
    for step, original in enumerate(arrays):
        assert archive.record(step).bound == 1e-4
        assert largest(original, Archive.open(archive.path).decode(step)) <= 1e-4
        assert archive.record(step).max_error == largest(original, archive.decode(step))


@pytest.mark.parametrize(("value", "bound"), [(0.0, 1e-3), (-3.7, 1e-3), (1e30, 1e25)])
def test_a_constant_series_is_exact_with_a_bound(
    tmp_path: Path, quick: EncodeConfig, value: float, bound: float
) -> None:
    series = ArraySeries([np.full((4, 5, 6), value, np.float32)])
    config = dataclasses.replace(quick, max_error=bound)
    archive = encode(series, tmp_path / "run.minr", config=config)
    assert (archive.decode(0) == np.float32(value)).all()
    assert archive.record(0).bound == bound


@pytest.mark.parametrize("value", [0.0, 1e-6])
def test_a_constant_series_has_any_bound(tmp_path: Path, quick: EncodeConfig, value: float) -> None:
    series = ArraySeries([np.full((4, 5, 6), value, np.float32)])
    config = dataclasses.replace(quick, max_error=1e-7)
    archive = encode(series, tmp_path / "run.minr", config=config)
    assert largest(series.read(0), archive.decode(0)) <= 1e-7


def test_a_bound_in_small_units(tmp_path: Path, make_series: Maker, quick: EncodeConfig) -> None:
    """Beside a component that is 0 everywhere."""
    plane = 1e-7 * make_series(steps=1, components=2).read(0)
    series = ArraySeries([np.pad(plane, [(0, 0)] * 3 + [(0, 1)])])
    config = dataclasses.replace(quick, max_error=1e-9)
    archive = encode(series, tmp_path / "run.minr", config=config)
    assert largest(series.read(0), archive.decode(0)) <= 1e-9


def test_noise_is_bounded(tmp_path: Path, quick: EncodeConfig) -> None:
    """The networks are of no use."""
    values = np.random.default_rng(0).standard_normal((8, 9, 10, 2)).astype(np.float32)
    config = dataclasses.replace(quick, max_error=0.05)
    archive = encode(ArraySeries([values]), tmp_path / "run.minr", config=config)
    assert largest(values, archive.decode(0)) <= 0.05
    assert archive.record(0).bytes < values.nbytes
