"""Encoding with coded weights: chains that are continued, and archives of a wanted ratio."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from metainr_core.archive import Archive
from metainr_core.config import WEIGHTS, EncodeConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import Cancelled, MetaINRWarning, SettingsError
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries
from tests.core.archives import bytes_in

Maker = Callable[..., ArraySeries]
INITS = ["random", "meta", "previous"]


def same(first: Archive, second: Archive) -> bool:
    """To the bit, in memory and on disk."""
    assert first.steps == second.steps
    return all(
        torch.equal(first.load_step(s).flat(), second.load_step(s).flat())
        and bytes_in(first.step_path(s), "code") == bytes_in(second.step_path(s), "code")
        for s in first.steps
    )


def without_the_prior(config: EncodeConfig, prior: Prior) -> Prior | None:
    return prior if config.init == "meta" else None


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("place", ["step 1", "step 2", "step 4", "step 5"])
def test_cancelled_work_ends_as_if_it_had_not_been(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior, init: str, place: str
) -> None:
    config = dataclasses.replace(quick, init=init, key_interval=4)
    start, series = without_the_prior(config, prior), make_series(steps=6)
    whole = encode(series, tmp_path / "whole.minr", config=config, prior=start)
    path = tmp_path / "run.minr"

    def stop(fraction: float, message: str) -> None:
        if f" {place}:" in message and "pass 2" in message:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        encode(series, path, config=config, prior=start, progress=stop)
    held = Archive.open(path).steps
    assert 0 < len(held) < 6
    times = [Archive.open(path).step_path(s).stat().st_mtime_ns for s in held]
    resumed = encode(series, path, config=config, prior=start)
    assert [resumed.step_path(s).stat().st_mtime_ns for s in held] == times
    assert same(Archive.open(path), Archive.open(whole.path))


def test_a_chain_that_lost_a_step_is_mended_alike(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    config = dataclasses.replace(quick, init="previous", key_interval=3)
    series = make_series(steps=6)
    whole = encode(series, tmp_path / "whole.minr", config=config)
    archive = encode(series, tmp_path / "run.minr", config=config)
    archive.step_path(1).unlink()
    archive.step_path(3).write_bytes(b"damaged")
    mended = encode(series, tmp_path / "run.minr", config=config)
    assert same(mended, whole)
    # What was not lost was not fitted again, and still builds on what was.
    assert same(Archive.open(mended.path), whole)


def test_a_chain_without_its_index_trains_nothing(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, request: pytest.FixtureRequest
) -> None:
    config = dataclasses.replace(quick, init="previous", key_interval=3)
    first = encode(make_series(steps=6), tmp_path / "run.minr", config=config)
    first.path.unlink()
    request.getfixturevalue("no_training")
    again = encode(make_series(steps=6), first.path, config=config)
    assert again.records == first.records


@pytest.mark.parametrize("init", INITS)
def test_a_change_of_format_fits_again(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior, init: str
) -> None:
    """In every order of formats, in one archive, without a trace of the one before."""
    config = dataclasses.replace(quick, init=init, key_interval=2)
    start = without_the_prior(config, prior)
    path = tmp_path / "run.minr"
    encode(make_series(), path, config=config, prior=start)
    for weights in ("float32", "coded", "float16", "coded"):
        other = dataclasses.replace(config, weights=weights)
        with pytest.warns(MetaINRWarning, match="replacing steps 0, 1, 2, 3"):
            encode(make_series(), path, config=other, prior=start)
        fresh = tmp_path / f"{weights}.minr"
        wanted = encode(make_series(), fresh, config=other, prior=start)
        opened = Archive.open(path)
        for row, other_row in zip(opened.records, wanted.records, strict=True):
            assert row.weights == weights
            assert row.psnr == other_row.psnr
            assert torch.equal(opened.load_step(row.step).flat(), wanted.load_step(row.step).flat())


@pytest.mark.parametrize("weights", WEIGHTS)
def test_records_say_how_weights_are_stored(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior, weights: str
) -> None:
    expected = {
        "random": ["none"] * 4,
        "meta": ["prior"] * 4,
        "previous": ["none", "previous", "none", "previous"],
    }
    for init, references in expected.items():
        config = dataclasses.replace(quick, init=init, key_interval=2, weights=weights)
        archive = encode(
            make_series(),
            tmp_path / f"{init}.minr",
            config=config,
            prior=without_the_prior(config, prior),
        )
        assert {r.weights for r in archive.records} == {weights}
        found = [r.reference for r in archive.records]
        assert found == (references if weights == "coded" else ["none"] * 4)


# A wanted ratio


def ratio_config(quick: EncodeConfig, init: str, **changes: Any) -> EncodeConfig:
    siren = None if init == "meta" else SirenConfig(32, 2, 10.0)
    return dataclasses.replace(quick, init=init, siren=siren, epochs=2, key_interval=4, **changes)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("target", [4.0, 16.0, 30.0])
def test_the_whole_archive_reaches_its_ratio(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior, init: str, target: float
) -> None:
    series = make_series(steps=8, dims=(32, 24, 20))
    config = ratio_config(quick, init, target_ratio=target)
    start = without_the_prior(config, prior)
    archive = encode(series, tmp_path / "run.minr", config=config, prior=start)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert archive.total_bytes == sum(p.stat().st_size for p in files)
    assert archive.ratio >= target
    free = dataclasses.replace(config, target_ratio=0.0)
    plain = encode(series, tmp_path / "free" / "run.minr", config=free, prior=start)
    if plain.ratio < target:
        # It took effect, and no more than it must.
        assert archive.ratio < 1.5 * target
    assert all(r.psnr > 10 for r in archive.records)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_short_chain_reaches_its_ratio(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, steps: int
) -> None:
    config = ratio_config(quick, "previous", target_ratio=20.0)
    config = dataclasses.replace(config, siren=SirenConfig(24, 1, 10.0, brick_size=12))
    series = make_series(steps=steps, dims=(36, 30, 24))
    assert encode(series, tmp_path / "run.minr", config=config).ratio >= 20


@pytest.mark.parametrize("init", INITS)
def test_a_ratio_that_cannot_be_is_one_line(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior, init: str
) -> None:
    config = ratio_config(quick, init, target_ratio=1000.0)
    with pytest.raises(
        SettingsError, match=r"target_ratio 1000 leaves no bytes for weights: .* ask for less"
    ) as error:
        encode(
            make_series(),
            tmp_path / "run.minr",
            config=config,
            prior=without_the_prior(config, prior),
        )
    assert "\n" not in str(error.value)


def test_what_is_impossible_says_what_is_possible(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    series = make_series(steps=8, dims=(32, 24, 20))
    config = ratio_config(quick, "random", target_ratio=500.0)
    with pytest.raises(SettingsError, match="the descriptions alone give") as error:
        encode(series, tmp_path / "run.minr", config=config)
    possible = float(str(error.value).split("alone give a ratio of ")[1].split(";")[0])
    lower = dataclasses.replace(config, target_ratio=0.9 * possible)
    archive = encode(series, tmp_path / "other.minr", config=lower)
    assert archive.ratio >= 0.9 * possible
