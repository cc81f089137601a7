"""What is promised for one H100: measured on a CUDA device, only named where there is none."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from metainr_core import (
    Archive,
    EncodeConfig,
    PretrainConfig,
    Series,
    SirenConfig,
    encode,
    pretrain,
)

from .settings import Settings
from .synthetic import smooth_series
from .timing import repeated, spread, timed

NETWORK = SirenConfig(256, 5)
_STEPS = 8
_LARGE_BATCH = 1 << 16
# Name, unit, goal, and whether more is better.
_FIT = "128³ step, 256×5, 16 epochs", "s", 0.6, False
_DECODE = "decode 256×5", "Mvoxel/s", 500.0, True
_PRETRAIN = "pretraining, 8 tasks of 32³ voxels, 256×5", "s", 20.0, False


def measure(device: torch.device, settings: Settings) -> Iterator[dict[str, Any]]:
    """Rows with ``value`` None where there is no CUDA device."""
    if device.type != "cuda":
        for promise in (_FIT, _DECODE, _PRETRAIN):
            yield _row(promise, "", None)
        return
    series = smooth_series(settings.cuda_edge, _STEPS)
    with tempfile.TemporaryDirectory() as name:
        archive = None
        for batch, label in ((0, "default batch"), (_LARGE_BATCH, f"batch {_LARGE_BATCH}")):
            archive, fits = _fit(series, batch, Path(name) / f"{batch}.minr", settings)
            yield _row(_FIT, label, fits)
        assert archive is not None
        for scale in (1, 4):
            rates = _decode(archive, scale, device, settings)
            yield _row(_DECODE, f"onto {scale} × the points per axis, to main memory", rates)
    # A 64th of a volume of 128³ is 32³ voxels, as is every 4th voxel along each axis.
    default = PretrainConfig(siren=NETWORK, lambda_t=1, fraction=1 / 64, device="cuda")
    paper = PretrainConfig.preset("paper", lambda_t=1, precision="auto", device="cuda")
    for label, config in (("default settings", default), ("published counts", paper)):
        seconds = timed(lambda: pretrain(series, config), device)  # noqa: B023
        yield _row(_PRETRAIN, label, spread([seconds]))


def _row(
    promise: tuple[str, str, float, bool], label: str, value: dict[str, Any] | None
) -> dict[str, Any]:
    name, unit, goal, more = promise
    met = None
    if value is not None:
        met = value["median"] > goal if more else value["median"] < goal
    return {
        "what": f"{name}, {label}" if label else name,
        "unit": unit,
        "goal": f"{'>' if more else '<'} {goal:g}",
        "value": value,
        "met": met,
    }


def _fit(
    series: Series, batch: int, file: Path, settings: Settings
) -> tuple[Archive, dict[str, Any]]:
    """Seconds per step of the fit loop, one step fitted by itself each time."""
    config = EncodeConfig(siren=NETWORK, init="random", epochs=16, batch_size=batch, device="cuda")
    archive = encode(series, file, config=config, steps=[0])  # warms up
    for step in range(1, settings.fits + 1):
        archive = encode(series, file, config=config, steps=[step])
    return archive, spread([r.seconds for r in archive.records[1:]])


def _decode(
    archive: Archive, scale: int, device: torch.device, settings: Settings
) -> dict[str, Any]:
    grid = archive.grid.scaled(scale)
    seconds = repeated(
        lambda: archive.decode(1, grid, device="cuda"), device, settings.repeats, settings.seconds
    )
    return spread([grid.voxels / s / 1e6 for s in seconds])
