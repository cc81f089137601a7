"""Fitting a series: what is kept, what is refused, and what the figures say."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metainr_core import encoding
from metainr_core.archive import Archive
from metainr_core.config import KEY_EPOCHS, EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.errors import (
    ArchiveError,
    Cancelled,
    MetaINRError,
    PriorError,
    SeriesError,
    SettingsError,
)
from metainr_core.grid import Grid
from metainr_core.metrics import Errors
from metainr_core.pretraining import pretrain
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries
from metainr_core.training import Trainer

Maker = Callable[..., ArraySeries]


def snapshot(path: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()}


def digests(archive: Archive) -> list[str]:
    """Of the weights alone: files also hold the seconds that the fit took."""
    return [
        "".join(str(t.double().sum().item()) for t in archive.load_step(s).tensors)
        for s in archive.steps
    ]


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any) -> None:
        raise AssertionError("nothing was to be trained")

    monkeypatch.setattr(Trainer, "run", run)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cores there are."""
    monkeypatch.setattr(encoding._Fitter, "steps_at_once", lambda self: 1)


@pytest.mark.usefixtures("one_by_one")
def test_every_step_is_stored_with_its_figures(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    series = make_series(times=[0.0, 0.5, 2.0, 7.0], array="speed")
    seen: list[tuple[float, str]] = []
    archive = encode(
        series, tmp_path / "run.minr", config=quick, progress=lambda f, m: seen.append((f, m))
    )
    assert archive.steps == [0, 1, 2, 3]
    assert archive.times == [0.0, 0.5, 2.0, 7.0]
    assert (archive.array, archive.grid) == ("speed", series.grid)
    assert archive.header.siren == quick.siren
    for row in archive.records:
        assert row.epochs == 2
        assert row.seconds > 0
        assert row.psnr_series >= row.psnr > 5
        # The header of a file so small outweighs its weights, but is counted all the same.
        assert row.bytes > archive.load_step(row.step).bytes
        assert row.ratio == pytest.approx(960 * 4 / row.bytes)
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0
    assert fractions[-1] == 1
    assert any("step 2 (3/4)" in m for _, m in seen)


def test_a_long_series_adds_little_to_each_step(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    """What a step's header repeats must not grow with the number of steps."""
    sizes = []
    for steps in (2, 200):
        series = make_series(steps=steps, dims=(3, 3, 3))
        archive = encode(series, tmp_path / f"{steps}.minr", config=quick, steps=[1])
        sizes.append(archive.record(1).bytes)
    assert sizes[1] < sizes[0] + 100


def test_more_passes_fit_better(tmp_path: Path, make_series: Maker, quick: EncodeConfig) -> None:
    series = make_series(steps=1)
    found = []
    for epochs in (1, 4, 16):
        config = dataclasses.replace(quick, epochs=epochs)
        archive = encode(series, tmp_path / f"{epochs}.minr", config=config)
        found.append(archive.record(0).psnr)
    assert found[0] < found[1] - 3 < found[2] - 6


def test_the_guard_against_training_guards(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, no_training: None
) -> None:
    with pytest.raises(AssertionError, match="nothing was to be trained"):
        encode(make_series(), tmp_path / "run.minr", config=quick)


def test_a_second_run_trains_nothing(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "run.minr"
    first = encode(make_series(), path, config=quick)
    times = [first.step_path(s).stat().st_mtime_ns for s in first.steps]
    request.getfixturevalue("no_training")
    again = encode(make_series(), path, config=quick)
    assert [again.step_path(s).stat().st_mtime_ns for s in again.steps] == times
    assert again.records == first.records


@pytest.mark.parametrize("init", ["random", "previous"])
def test_steps_fitted_together_are_those_fitted_alone(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    monkeypatch: pytest.MonkeyPatch,
    init: str,
) -> None:
    config = dataclasses.replace(quick, init=init, key_interval=2)
    seen: list[str] = []
    archives = []
    for size in (1, 3):
        monkeypatch.setattr(encoding._Fitter, "steps_at_once", lambda self, n=size: n)
        path = tmp_path / f"{size}.minr"
        archives.append(
            encode(make_series(), path, config=config, progress=lambda f, m: seen.append(m))
        )
    alone, together = archives
    for step in range(4):
        for a, b in zip(
            alone.load_step(step).tensors, together.load_step(step).tensors, strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    expected = "steps 0, 1, 2 (3/4)" if init == "random" else "steps 1, 3 (4/4)"
    assert any(expected in m for m in seen)


@pytest.mark.usefixtures("one_by_one")
def test_cancelled_work_goes_on_where_it_stopped(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    whole = encode(make_series(), tmp_path / "whole.minr", config=quick)
    path = tmp_path / "run.minr"

    def stop_in_step_2(fraction: float, message: str) -> None:
        if message.startswith("step 2") and "pass" in message:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        encode(make_series(), path, config=quick, progress=stop_in_step_2)
    assert Archive.open(path).steps == [0, 1]
    times = [Archive.open(path).step_path(s).stat().st_mtime_ns for s in (0, 1)]
    resumed = encode(make_series(), path, config=quick)
    assert [resumed.step_path(s).stat().st_mtime_ns for s in (0, 1)] == times
    assert digests(resumed) == digests(whole)
    assert not list(path.parent.rglob(".*"))


def test_a_lost_index_costs_nothing(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "run.minr"
    first = encode(make_series(), path, config=quick)
    path.unlink()
    request.getfixturevalue("no_training")
    assert encode(make_series(), path, config=quick).records == first.records


def test_parts_in_any_order_give_the_whole(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    whole = encode(make_series(), tmp_path / "whole.minr", config=quick)
    path = tmp_path / "run.minr"
    # numpy's integers, as scripts have them.
    for steps in (np.array([3, 1]), [0], range(2, 3)):
        encode(make_series(), path, config=quick, steps=steps)
    assert Archive.open(path).steps == [0, 1, 2, 3]
    assert digests(Archive.open(path)) == digests(whole)


@pytest.mark.parametrize("steps", [[4], [-1], [0, 99]])
def test_steps_that_are_not_there_are_refused(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, steps: list[int]
) -> None:
    with pytest.raises(SeriesError, match=r"asked for; the arrays has steps 0 to 3"):
        encode(make_series(), tmp_path / "run.minr", config=quick, steps=steps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [{"epochs": 3}, {"seed": 1}, {"learning_rate": 2e-3}],
)
def test_other_settings_fit_again(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, change: dict[str, Any]
) -> None:
    path = tmp_path / "run.minr"
    before = digests(encode(make_series(), path, config=quick))
    other = dataclasses.replace(quick, **change)
    after = encode(make_series(), path, config=other)
    assert after.steps == [0, 1, 2, 3]
    assert not set(digests(after)) & set(before)
    assert digests(encode(make_series(), path, config=quick)) == before


def test_another_network_is_refused_unless_overwritten(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    path = tmp_path / "run.minr"
    before = digests(encode(make_series(), path, config=quick))
    other = dataclasses.replace(quick, siren=SirenConfig(8, 1, 10.0))
    with pytest.raises(ArchiveError, match=r"holds networks of width .*--overwrite"):
        encode(make_series(), path, config=other)
    assert digests(Archive.open(path)) == before
    after = encode(make_series(), path, config=other, overwrite=True)
    assert after.header.siren.width == 8
    assert not set(digests(after)) & set(before)


def test_a_damaged_step_is_fitted_again(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    path = tmp_path / "run.minr"
    archive = encode(make_series(), path, config=quick)
    before = digests(archive)
    data = bytearray(archive.step_path(2).read_bytes())
    data[-1] ^= 1
    archive.step_path(2).write_bytes(bytes(data))
    again = encode(make_series(), path, config=quick)
    assert digests(again) == before
    assert again.is_intact(2)


def test_an_index_older_than_its_steps_is_not_believed(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    """Killed after step files of other settings, before the index."""
    path = tmp_path / "run.minr"
    first = encode(make_series(), path, config=quick)
    index, before = path.read_bytes(), digests(first)
    encode(make_series(), path, config=dataclasses.replace(quick, seed=5))
    path.write_bytes(index)
    again = encode(make_series(), path, config=quick)
    assert digests(again) == before


@pytest.mark.parametrize(
    "other",
    [
        {"phase": 0.3},
        {"times": [0.0, 1.0, 2.0, 4.0]},
        {"steps": 3},
        {"array": "pressure"},
        {"components": 2},
        {"grid": Grid((12, 10, 8), spacing=(2.0, 1.0, 1.0))},
        {"dims": (12, 10, 9)},
    ],
)
def test_another_series_is_refused_and_nothing_is_lost(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, other: dict[str, Any]
) -> None:
    path = tmp_path / "run.minr"
    encode(make_series(), path, config=quick)
    before = snapshot(path)
    with pytest.raises(ArchiveError, match=r"holds another series.*--overwrite") as error:
        encode(make_series(**other), path, config=quick)
    assert "\n" not in str(error.value)
    assert snapshot(path) == before
    replaced = encode(make_series(**other), path, config=quick, overwrite=True)
    assert len(replaced.steps) == len(make_series(**other))


def test_a_longer_series_goes_on(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    path = tmp_path / "run.minr"
    meta = dataclasses.replace(quick, init="meta")
    first = encode(make_series(steps=3), path, config=meta, prior=prior)
    times = [first.step_path(s).stat().st_mtime_ns for s in first.steps]
    longer = encode(make_series(steps=5), path, config=meta, prior=prior)
    assert longer.steps == [0, 1, 2, 3, 4]
    assert [longer.step_path(s).stat().st_mtime_ns for s in first.steps] == times


def test_overwriting_leaves_no_step_of_the_old_series(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    """With one prior the headers of two series are equal, and so their steps look alike."""
    path = tmp_path / "run.minr"
    meta = dataclasses.replace(quick, init="meta")
    encode(make_series(), path, config=meta, prior=prior)
    other = make_series(phase=0.05)
    encode(other, path, config=meta, prior=prior, overwrite=True, steps=[0])
    assert Archive.open(path).steps == [0]
    encode(other, path, config=meta, prior=prior)
    for row in Archive.open(path).records:
        errors = Errors.between(other.read(row.step), Archive.open(path).decode(row.step))
        assert row.max_error == pytest.approx(errors.largest)


@pytest.mark.parametrize("content", [b"", b"{}", b"precious notes"])
def test_a_file_that_is_no_archive_is_not_replaced(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, content: bytes
) -> None:
    path = tmp_path / "run.minr"
    path.write_bytes(content)
    with pytest.raises(ArchiveError):
        encode(make_series(), path, config=quick)
    assert path.read_bytes() == content


@pytest.mark.parametrize("place", ["run", "file/run.minr", "run.pvd"])
def test_an_unwritable_place_is_known_before_the_work(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, no_training: None, place: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError) as error:
        encode(make_series(), tmp_path / place, config=quick)
    assert "\n" not in str(error.value)


def test_a_file_in_place_of_the_folder(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, no_training: None
) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(ArchiveError, match=r"folder .*run cannot be made: File exists"):
        encode(make_series(), tmp_path / "run.minr", config=quick)


def test_a_full_disk_keeps_the_finished_steps(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.minr"
    replace = os.replace

    def full(source: str, target: Path) -> None:
        if "step_000002" in str(target):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ArchiveError, match=r"step_000002.* cannot be written: No space left"):
        encode(make_series(), path, config=quick)
    monkeypatch.undo()
    assert Archive.open(path).steps == [0, 1]
    assert not list(tmp_path.rglob(".*"))
    assert encode(make_series(), path, config=quick).steps == [0, 1, 2, 3]


# Priors


def test_a_prior_is_a_better_start(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    one = dataclasses.replace(quick, epochs=1)
    plain = encode(make_series(), tmp_path / "r.minr", config=one)
    meta = encode(
        make_series(),
        tmp_path / "m.minr",
        config=dataclasses.replace(one, init="meta"),
        prior=prior,
    )
    assert min(r.psnr for r in meta.records) > max(r.psnr for r in plain.records) + 2
    kept = Prior.load(meta.folder / "prior.safetensors")
    assert kept.digest == prior.digest
    assert meta.header.value_range == prior.value_range
    assert meta.info["prior"]["voxel_share"] == prior.voxel_share


@pytest.mark.parametrize(
    ("series", "changes", "kind", "message"),
    [
        ({"array": "pressure"}, {}, PriorError, "learned from array 'values'.*'pressure'"),
        ({"components": 3}, {}, PriorError, r"\(1 components\); the arrays has 'values' \(3\)"),
        ({}, {"siren": SirenConfig(24, 1, 10.0)}, PriorError, "the prior's network has"),
        ({}, {"init": "pretrained"}, PriorError, "the prior is of kind 'meta'; set init to meta"),
        ({}, {"init": "random"}, SettingsError, "init is random, but a prior is given"),
    ],
)
def test_a_prior_that_does_not_fit_is_refused(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    prior: Prior,
    series: dict[str, Any],
    changes: dict[str, Any],
    kind: type[MetaINRError],
    message: str,
) -> None:
    config = dataclasses.replace(quick, **{"init": "meta", "siren": None, **changes})
    with pytest.raises(kind, match=message) as error:
        encode(make_series(**series), tmp_path / "run.minr", config=config, prior=prior)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("init", ["meta", "pretrained"])
def test_a_missing_prior_is_asked_for(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, init: str
) -> None:
    config = dataclasses.replace(quick, init=init)
    with pytest.raises(PriorError, match=f"init is '{init}', which needs a prior"):
        encode(make_series(), tmp_path / "run.minr", config=config)


def test_another_prior_fits_again(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior, learning: PretrainConfig
) -> None:
    path = tmp_path / "run.minr"
    meta = dataclasses.replace(quick, init="meta")
    before = digests(encode(make_series(), path, config=meta, prior=prior))
    other = pretrain(make_series(), dataclasses.replace(learning, outer_steps=3))
    assert not set(digests(encode(make_series(), path, config=meta, prior=other))) & set(before)


# Starting from the neighbour


def test_the_previous_step_is_a_better_start(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    one = dataclasses.replace(quick, epochs=1)
    plain = encode(make_series(steps=6), tmp_path / "r.minr", config=one)
    chain = dataclasses.replace(one, init="previous", key_interval=4)
    chained = encode(make_series(steps=6), tmp_path / "c.minr", config=chain)
    for row, other in zip(chained.records, plain.records, strict=True):
        assert row.psnr > other.psnr + 1
        assert row.epochs == (KEY_EPOCHS if row.step % 4 == 0 else 1)
    assert chained.record(3).psnr > chained.record(1).psnr + 1


def test_a_chain_is_resumed_in_the_middle(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    config = dataclasses.replace(quick, init="previous", key_interval=3)
    whole = encode(make_series(steps=6), tmp_path / "w.minr", config=config)
    path = tmp_path / "run.minr"
    encode(make_series(steps=6), path, config=config, steps=[0, 1, 3])
    encode(make_series(steps=6), path, config=config, steps=[2, 4])
    assert digests(encode(make_series(steps=6), path, config=config)) == digests(whole)


def test_a_chain_with_a_hole_is_refused(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    config = dataclasses.replace(quick, init="previous", key_interval=3)
    with pytest.raises(SettingsError, match=r"step 5 starts from step 4.*key frame 3 on"):
        encode(make_series(steps=6), tmp_path / "run.minr", config=config, steps=[3, 5])
    assert Archive.open(tmp_path / "run.minr").steps == [3]


def test_key_frames_start_from_the_prior(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    chain = dataclasses.replace(quick, init="previous", key_interval=2)
    chained = encode(make_series(), tmp_path / "c.minr", config=chain, prior=prior)
    meta = dataclasses.replace(quick, init="meta", epochs=KEY_EPOCHS * quick.epochs)
    plain = encode(make_series(), tmp_path / "m.minr", config=meta, prior=prior)
    same = [a == b for a, b in zip(digests(chained), digests(plain), strict=True)]
    assert same == [True, False, True, False]


# Stopping early


def test_a_reached_target_stops(tmp_path: Path, make_series: Maker, quick: EncodeConfig) -> None:
    config = dataclasses.replace(quick, epochs=64, target_psnr=25.0)
    archive = encode(make_series(steps=2), tmp_path / "run.minr", config=config)
    for row in archive.records:
        assert row.epochs < 64
        assert row.psnr_series > 24.7
    easy = dataclasses.replace(config, target_psnr=1.0)
    assert encode(make_series(steps=2), tmp_path / "e.minr", config=easy).record(0).epochs == 1


# Unusual fields


@pytest.mark.parametrize("value", [0.0, -3.7, 1e38, 1e-40])
@pytest.mark.parametrize("components", [1, 3])
def test_a_constant_field_is_exact(
    tmp_path: Path, quick: EncodeConfig, value: float, components: int
) -> None:
    series = ArraySeries([np.full((4, 5, 6, components), value, np.float32)] * 2)
    archive = encode(series, tmp_path / "run.minr", config=quick)
    for row in archive.records:
        assert row.mean_squared_error == row.max_error == row.epochs == 0
        assert row.psnr == row.psnr_series == math.inf
        assert (archive.decode(row.step) == np.float32(value)).all()
    json.dumps(json.loads(archive.path.read_bytes()), allow_nan=False)


def test_a_constant_step_among_others(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    arrays = [make_series(steps=1).read(0), np.full((8, 10, 12, 1), 0.123, np.float32)]
    archive = encode(ArraySeries(arrays), tmp_path / "run.minr", config=quick)
    assert archive.record(1).max_error < 1e-6
    assert archive.record(1).psnr_series > 120
    assert np.ptp(archive.decode(1)) == 0


@pytest.mark.parametrize(
    "dims", [(12, 10, 1), (1, 10, 8), (12, 1, 1), (1, 1, 7), (2, 2, 2), (1, 1, 1)]
)
@pytest.mark.parametrize("brick_size", [0, 4])
def test_thin_volumes(
    tmp_path: Path, quick: EncodeConfig, dims: tuple[int, int, int], brick_size: int
) -> None:
    values = np.random.default_rng(0).random((1, *dims[::-1])).astype(np.float32)
    config = dataclasses.replace(quick, siren=SirenConfig(8, 1, 10.0, brick_size=brick_size))
    archive = encode(ArraySeries(list(values)), tmp_path / "run.minr", config=config)
    decoded = Archive.open(archive.path).decode(0)
    assert decoded.shape == (*dims[::-1], 1)
    errors = Errors.between(values[0][..., None], decoded)
    assert archive.record(0).max_error == pytest.approx(errors.largest, abs=1e-7)


def test_vectors_with_a_constant_component_in_small_units(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    """A plane flow in SI units: the component across is zero, the others are tiny."""
    plane = make_series(steps=2, components=2)
    arrays = [np.pad(1e-7 * plane.read(s), [(0, 0)] * 3 + [(0, 1)]) for s in range(2)]
    config = dataclasses.replace(quick, epochs=8)
    archive = encode(ArraySeries(arrays), tmp_path / "run.minr", config=config)
    assert archive.components == 3
    assert min(r.psnr for r in archive.records) > 20
    assert float(np.abs(archive.decode(0)[..., 2]).max()) < 1e-7


@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e30, 1e38])
def test_any_unit_fits_alike(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, size: float
) -> None:
    values = make_series(steps=1).read(0)
    plain = encode(ArraySeries([values]), tmp_path / "a.minr", config=quick)
    scaled = ArraySeries([(values * np.float64(size)).astype(np.float32)])
    other = encode(scaled, tmp_path / "b.minr", config=quick)
    assert other.record(0).psnr == pytest.approx(plain.record(0).psnr, abs=0.5)


def test_a_large_offset_does_not_matter(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    values = make_series(steps=1).read(0)
    plain = encode(ArraySeries([values]), tmp_path / "a.minr", config=quick)
    other = encode(ArraySeries([values + 1000]), tmp_path / "b.minr", config=quick)
    assert other.record(0).psnr == pytest.approx(plain.record(0).psnr, abs=0.2)


def test_a_fit_that_diverges_is_reported(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    config = dataclasses.replace(quick, learning_rate=1e25, optimizer="adam")
    with pytest.raises(SettingsError, match=r"step 0 of the arrays: the fit diverged; lower"):
        encode(make_series(), tmp_path / "run.minr", config=config)
    assert Archive.open(tmp_path / "run.minr").steps == []


def test_bricks_and_bf16_fit_too(tmp_path: Path, make_series: Maker, quick: EncodeConfig) -> None:
    found = []
    for precision in ("fp32", "bf16"):
        config = dataclasses.replace(
            quick,
            siren=SirenConfig(8, 1, 8.0, brick_size=6),
            batch_size=64,
            epochs=16,
            precision=precision,
        )
        archive = encode(make_series(steps=1), tmp_path / f"{precision}.minr", config=config)
        assert archive.layout.bricks == 8
        assert archive.load_step(0).networks == 8
        found.append(archive.record(0).psnr)
    assert found[0] > 24
    assert found[1] == pytest.approx(found[0], abs=1.5)


def test_errors_at_seams_are_like_those_inside(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig
) -> None:
    series = make_series(steps=2, dims=(24, 24, 24))
    siren = SirenConfig(12, 1, 8.0, brick_size=8)
    config = dataclasses.replace(quick, siren=siren, batch_size=128, epochs=10)
    archive = encode(series, tmp_path / "run.minr", config=config)
    seam = np.zeros((24, 24, 24), bool)
    for axis, cut in zip((2, 1, 0), archive.layout.axes, strict=True):
        assert len(cut.seams) == 2
        for first in cut.seams:
            np.moveaxis(seam, axis, 0)[first : first + 2] = True
    squares = np.mean([(series.read(s) - archive.decode(s)) ** 2 for s in (0, 1)], axis=0)[..., 0]
    assert archive.record(0).psnr > 25
    assert math.sqrt(squares[seam].mean()) < 1.5 * math.sqrt(squares[~seam].mean())


@pytest.mark.cuda
@pytest.mark.parametrize("brick_size", [0, 6])
def test_the_device_fits_as_the_processor(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, cuda: torch.device, brick_size: int
) -> None:
    siren = SirenConfig(16, 2, 10.0, brick_size=brick_size)
    config = dataclasses.replace(quick, siren=siren, epochs=8)
    plain = encode(make_series(), tmp_path / "cpu.minr", config=config)
    fast = encode(
        make_series(), tmp_path / "cuda.minr", config=dataclasses.replace(config, device="cuda")
    )
    for row, other in zip(fast.records, plain.records, strict=True):
        assert row.psnr == pytest.approx(other.psnr, abs=0.5)
        assert fast.decode(row.step, device="cpu") == pytest.approx(
            fast.decode(row.step, device="cuda"), abs=1e-4
        )
