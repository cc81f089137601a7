"""Fitting steps: how well, from which start, together or alone, and unusual fields."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metainr_core import fused
from metainr_core.archive import Archive
from metainr_core.config import KEY_EPOCHS, EncodeConfig, SirenConfig
from metainr_core.decode import decode_grid
from metainr_core.encoding import encode
from metainr_core.errors import PriorError, SettingsError
from metainr_core.metrics import Errors
from metainr_core.prior import Prior
from metainr_core.series import ArraySeries
from metainr_core.step_encoder import StepEncoder
from tests.core.archives import bytes_in

Maker = Callable[..., ArraySeries]


def test_more_passes_fit_better(tmp_path: Path, make_series: Maker, quick: EncodeConfig) -> None:
    series = make_series(steps=1)
    found = []
    for epochs in (1, 4, 16):
        config = dataclasses.replace(quick, epochs=epochs)
        archive = encode(series, tmp_path / f"{epochs}.minr", config=config)
        found.append(archive.record(0).psnr)
    assert found[0] < found[1] - 3 < found[2] - 6


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
        monkeypatch.setattr(StepEncoder, "steps_at_once", lambda self, n=size: n)
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
    expected = "encode 3/4, steps 0, 1, 2:" if init == "random" else "encode 4/4, steps 1, 3:"
    assert any(expected in m for m in seen)


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
    assert kept.digest == prior.rounded().digest
    assert meta.header.value_range == prior.value_range
    assert meta.info["prior"]["voxel_share"] == prior.voxel_share


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
    # Coded key frames are rounded otherwise than steps that are stored relative to the prior.
    quick = dataclasses.replace(quick, weights="float32")
    chain = dataclasses.replace(quick, init="previous", key_interval=2)
    chained = encode(make_series(), tmp_path / "c.minr", config=chain, prior=prior)
    meta = dataclasses.replace(quick, init="meta", epochs=KEY_EPOCHS * quick.epochs)
    plain = encode(make_series(), tmp_path / "m.minr", config=meta, prior=prior)
    same = [
        all(map(torch.equal, chained.load_step(s).tensors, plain.load_step(s).tensors))
        for s in range(4)
    ]
    assert same == [True, False, True, False]


# Stopping early


@pytest.mark.parametrize("weights", ["float32", "float16", "coded"])
def test_a_reached_target_stops(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, weights: str
) -> None:
    config = dataclasses.replace(quick, epochs=64, target_psnr=25.0, weights=weights)
    archive = encode(make_series(steps=2), tmp_path / "run.minr", config=config)
    for row in archive.records:
        assert row.epochs < 64
        assert row.psnr_series > 24.7
    easy = dataclasses.replace(config, target_psnr=15.0)
    row = encode(make_series(steps=2), tmp_path / "e.minr", config=easy).record(0)
    assert row.epochs == 1
    assert row.psnr_series > 14.7


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
    assert not list(tmp_path.iterdir())


# Bricks, precision, device


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


# Hidden matrices of the prior


@pytest.mark.parametrize("torch_fits", [False, True])
@pytest.mark.parametrize("weights", ["coded", "float32"])
@pytest.mark.parametrize("init", ["meta", "previous"])
@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_modulation_keeps_the_matrices_of_the_prior(
    tmp_path: Path,
    make_series: Maker,
    quick: EncodeConfig,
    prior: Prior,
    monkeypatch: pytest.MonkeyPatch,
    init: str,
    weights: str,
    optimizer: str,
    torch_fits: bool,
) -> None:
    if torch_fits:
        monkeypatch.setattr(fused, "serves", lambda *_: False)
    config = dataclasses.replace(
        quick,
        init=init,
        adapt="modulation",
        weights=weights,
        optimizer=optimizer,
        weight_decay=1.0,
        key_interval=2,
    )
    archive = encode(make_series(steps=3), tmp_path / "run.minr", config=config, prior=prior)
    kept = Prior.load(archive.prior_path)
    assert kept.digest == (prior.rounded() if weights == "coded" else prior).digest
    opened = Archive.open(archive.path)
    for step in range(3):
        siren = opened.load_step(step)
        for own, base in zip(siren.weights[1:-1], kept.siren.weights[1:-1], strict=True):
            assert torch.equal(own, base)
        assert not torch.equal(siren.weights[0], kept.siren.weights[0])
        assert not torch.equal(siren.biases[1], kept.siren.biases[1])
        # Better than what it starts from.
        alone = decode_grid(
            kept.siren,
            opened.layout,
            opened.grid.index_coordinates(opened.grid),
            *opened.header.value_range.scale(),
        )
        start = Errors.between(make_series().read(step), alone)
        assert opened.record(step).mean_squared_error < 0.5 * start.mean_squared
    references = ["prior", "previous", "prior"] if init == "previous" else ["prior"] * 3
    found = [r.reference for r in opened.records]
    assert found == (references if weights == "coded" else ["none"] * 3)


def test_modulation_takes_fewer_bytes(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    sizes = []
    for adapt in ("all", "modulation"):
        config = dataclasses.replace(quick, init="meta", adapt=adapt)
        path = tmp_path / f"{adapt}.minr"
        archive = encode(make_series(steps=1), path, config=config, prior=prior)
        sizes.append(len(bytes_in(archive.step_path(0), "code")))
    assert sizes[1] < 0.7 * sizes[0]


def test_modulation_of_bricks(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, prior: Prior
) -> None:
    siren = dataclasses.replace(prior.siren_config, brick_size=6)
    bricks = dataclasses.replace(prior, siren_config=siren)
    config = dataclasses.replace(quick, siren=siren, init="meta", adapt="modulation")
    archive = encode(make_series(steps=1), tmp_path / "run.minr", config=config, prior=bricks)
    kept = Prior.load(archive.prior_path).siren.weights[1].expand(8, -1, -1)
    assert torch.equal(archive.load_step(0).weights[1], kept)


@pytest.mark.parametrize("init", ["random", "previous"])
def test_modulation_needs_a_prior(
    tmp_path: Path, make_series: Maker, quick: EncodeConfig, init: str
) -> None:
    config = dataclasses.replace(quick, init=init, adapt="modulation")
    with pytest.raises(PriorError, match="adapt is modulation, which needs a prior") as error:
        encode(make_series(), tmp_path / "run.minr", config=config)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run.minr").exists()
