"""What is expected of a step's file is what encode writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metainr_core.config import EncodeConfig, PretrainConfig, SirenConfig
from metainr_core.encoding import encode
from metainr_core.estimate import Estimate
from metainr_core.grid import Grid
from metainr_core.pretraining import pretrain
from metainr_core.series import ArraySeries

GRID = Grid((28, 26, 24))
WHOLE = SirenConfig(24, 2, 15.0)
BRICKS = SirenConfig(10, 2, 10.0, brick_size=14)
QUICK = EncodeConfig(init="random", epochs=2, batch_size=1024, precision="fp32")


def rough(components: int = 1) -> ArraySeries:
    """Waves of many lengths, whose weights do not round away."""
    rng = np.random.default_rng(1)
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in GRID.dims[::-1]), indexing="ij")
    values = np.zeros((*GRID.shape[:3], components), np.float32)
    for _ in range(40):
        k, phase = rng.normal(0, 12, 3), rng.uniform(0, 6, components)
        wave = (k[0] * x + k[1] * y + k[2] * z)[..., None] + phase
        values += np.sin(wave).astype(np.float32)
    return ArraySeries([values, np.roll(values, 1, 0)], grid=GRID, times=(0, 1))


def written(path: Path, config: EncodeConfig, components: int, **more: Any) -> float:
    archive = encode(rough(components), path, config=config, **more)
    return archive.records[-1].bytes


@pytest.mark.parametrize("weights", ["float16", "float32"])
@pytest.mark.parametrize(("siren", "components"), [(WHOLE, 1), (WHOLE, 3), (BRICKS, 1)])
def test_plain_weights_take_what_is_expected(
    tmp_path: Path, siren: SirenConfig, components: int, weights: str
) -> None:
    config = dataclasses.replace(QUICK, siren=siren, weights=weights)
    found = Estimate.of(siren, GRID, components, config)
    size = written(tmp_path / "a.minr", config, components)
    assert abs(found.bytes - size) < 200
    assert found.ratio == pytest.approx(4 * GRID.voxels * components / found.bytes, rel=1e-3)


@pytest.mark.parametrize("siren", [WHOLE, BRICKS])
def test_coded_weights_take_about_what_is_expected(tmp_path: Path, siren: SirenConfig) -> None:
    quick = PretrainConfig(siren=siren, outer_steps=6, inner_steps=8, tasks=2, precision="fp32")
    prior = pretrain(rough(), quick)
    config = dataclasses.replace(QUICK, init="meta", epochs=8)
    found = Estimate.of(siren, GRID, 1, config)
    assert found.networks == (1 if siren is WHOLE else 8)
    size = written(tmp_path / "a.minr", config, 1, prior=prior)
    assert 0.4 < size / found.bytes < 2
    modulation = dataclasses.replace(config, adapt="modulation")
    less = written(tmp_path / "m.minr", modulation, 1, prior=prior)
    assert 0.4 < less / Estimate.of(siren, GRID, 1, modulation).bytes < 2


def test_finer_rounding_takes_more(tmp_path: Path) -> None:
    fine = dataclasses.replace(QUICK, siren=WHOLE, coding_loss=0.002)
    coarse = dataclasses.replace(fine, coding_loss=1.0)
    found = [Estimate.of(WHOLE, GRID, 1, c).bytes for c in (fine, coarse)]
    sizes = [written(tmp_path / f"{c.coding_loss}.minr", c, 1) for c in (fine, coarse)]
    assert found[0] > found[1]
    for expected, size in zip(found, sizes, strict=True):
        assert 0.4 < size / expected < 2.5


def test_a_target_ratio_is_reached() -> None:
    config = dataclasses.replace(QUICK, target_ratio=200.0)
    assert Estimate.of(WHOLE, GRID, 1, config).ratio == pytest.approx(200)
    # Less is not aimed at: the estimate says what is expected anyway.
    low = dataclasses.replace(QUICK, target_ratio=1.0)
    assert Estimate.of(WHOLE, GRID, 1, low) == Estimate.of(WHOLE, GRID, 1, QUICK)
