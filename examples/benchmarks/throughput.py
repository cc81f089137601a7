"""Rates of training, decoding and pretraining, next to those of the machine's bare products.

Measured through public functions on smooth random series. Product rates are taken anew before and
after each row, so that both see the same state of a machine that others use too.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
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
    choose_siren,
    encode,
    pretrain,
)
from metainr_core.layout import BrickLayout
from metainr_core.sampling import draw_samples
from metainr_core.series import no_progress

from . import arithmetic, ceilings, machine
from .settings import Load, Settings
from .synthetic import smooth_series
from .timing import repeated, spread

PRETRAIN_GOAL = 1.3  # times the time of its products, on a CPU
_PEAK_WIDTH = 256  # products this wide run at what the machine can do
_TASKS = 8  # of a round
_DECODE_VOXELS = 1e8  # at most, for the memory
_CUDA_FACTOR = 100  # more arithmetic, to keep a GPU busy as long


def measure(device: torch.device, settings: Settings) -> Iterator[dict[str, Any]]:
    """One row per network of the settings."""
    for load in settings.loads:
        # A CPU fits a step per core at once: twice as many keep all cores busy.
        steps = max(2 * machine.cores(), _TASKS)
        if device.type == "cuda":
            steps = _TASKS
            load = dataclasses.replace(load, edge=settings.cuda_edge, epochs=1)
        yield _row(load, steps, device, settings)


def _row(load: Load, steps: int, device: torch.device, settings: Settings) -> dict[str, Any]:
    series = smooth_series(load.edge, steps)
    siren = load.siren or choose_siren(series.grid)
    layout = BrickLayout.of(series.grid.dims, siren.brick_size)
    # A brick's fit is shared by the cores, and a volume of bricks is large: two steps will do.
    fitted = steps if layout.bricks == 1 else 2
    before = _ceilings(siren, device, settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm = EncodeConfig(siren=siren, init="random", epochs=1, device=device.type)
        encode(series, folder / "warm.minr", config=warm, steps=range(min(fitted, 2)))
        training = {}
        for optimizer in ("muon", "adam"):
            config = dataclasses.replace(warm, optimizer=optimizer, epochs=load.epochs)
            archive, found = _fits(series, config, range(fitted), folder, settings.fits)
            training[optimizer] = found
        decoding = _decoding(archive, device, settings)
    pretraining = _pretraining(series, layout, siren, load.rounds, device) if load.rounds else None
    ceiling = _higher(before, _ceilings(siren, device, settings))
    own, peak = ceiling["own_width"]["median"], ceiling["peak"]["median"]
    for found in (*training.values(), decoding):
        rate = found["rate"]["median"] * found["operations"]
        found |= {"own_share": rate / own, "peak_share": rate / peak}
    if pretraining:
        seconds = 1 / pretraining["rounds"]["median"]
        network = pretraining["network_operations"]
        both = network + pretraining["muon_operations"]
        pretraining["time_ratio"] = seconds * own / both
        pretraining["time_ratio_without_muon"] = seconds * own / network
    return {
        "network": f"{siren.width}×{siren.hidden_layers}",
        "default": load.siren is None,
        "bricks": layout.bricks,
        "edge": load.edge,
        "steps": fitted,
        "epochs": load.epochs,
        "ceiling": ceiling,
        "training": training,
        "decoding": decoding,
        "pretraining": pretraining,
        "goals": _goals(load, device),
    }


def _ceilings(siren: SirenConfig, device: torch.device, settings: Settings) -> dict[str, Any]:
    kind = ceilings.training_arithmetic(device)
    own, peak = (
        ceilings.best_rate(device, kind, width, settings) for width in (siren.width, _PEAK_WIDTH)
    )
    return {"arithmetic": kind, "own_width": own, "peak": peak}


def _higher(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The better of both: other programs only take away. ``drift``: how far they are apart."""
    result = dict(before)
    ratios = []
    for name in ("own_width", "peak"):
        pair = sorted((before[name], after[name]), key=lambda rate: rate["median"])
        result[name] = pair[1]
        ratios.append(pair[1]["median"] / pair[0]["median"])
    return result | {"drift": max(ratios) - 1}


def _goals(load: Load, device: torch.device) -> dict[str, float]:
    """Shares of the product rate at the network's own width; of pretraining the time ratio."""
    if device.type == "cuda":
        return {}
    goals = {"pretraining": PRETRAIN_GOAL}
    if load.goals:
        goals |= {"training": load.goals[0], "decoding": load.goals[1]}
    return goals


def _fits(
    series: Series, config: EncodeConfig, steps: range, folder: Path, repeats: int
) -> tuple[Archive, dict[str, Any]]:
    """The last archive, and points/s of the fit loop and of ``encode`` as a whole."""
    loop, whole, clocks = [], [], []
    for repeat in range(repeats):
        file = folder / f"{config.optimizer}_{repeat}.minr"
        started = time.perf_counter()
        archive = encode(series, file, config=config, steps=steps)
        wall = time.perf_counter() - started
        voxels = archive.layout.bricks * _voxels(archive.layout)
        points = sum(r.epochs * voxels for r in archive.records)
        clock = sum(r.seconds for r in archive.records)
        clocks.append({"records": clock, "encode": wall})
        # Seconds of steps fitted side by side must add up to no more than the time that passed.
        loop.append(points / min(clock, wall))
        whole.append(points / wall)
    bricks = archive.layout.bricks
    batch = config.resolved(bricks, archive.header.siren.width).batch_size
    minibatches = bricks * -(-_voxels(archive.layout) // batch)
    extra = minibatches * arithmetic.orthogonalizing(archive.header.siren)
    return archive, {
        "rate": spread(loop),
        "encode_rate": spread(whole),
        "seconds": clocks,
        "batch_size": batch,
        "operations": arithmetic.training(archive.header.siren),
        # Per point, so that both can be added.
        "muon_operations": extra / voxels if config.optimizer == "muon" else 0.0,
    }


def _voxels(layout: BrickLayout) -> int:
    nz, ny, nx = layout.brick_shape
    return nz * ny * nx


def _decoding(archive: Archive, device: torch.device, settings: Settings) -> dict[str, Any]:
    """Voxels/s of ``Archive.decode`` into memory, and the share of time that reading its file has.

    On a grid fine enough for the evaluation to be what takes the time.
    """
    step, siren = archive.steps[0], archive.header.siren
    wanted = settings.decode_operations * (_CUDA_FACTOR if device.type == "cuda" else 1)
    voxels = min(wanted / arithmetic.decoding(siren), _DECODE_VOXELS)
    grid = archive.grid.scaled(max((voxels / archive.grid.voxels) ** (1 / 3), 1.0))
    seconds, load = (
        repeated(action, device, settings.repeats, settings.seconds)
        for action in (
            lambda: archive.decode(step, grid, device=device.type),
            lambda: archive.load_step(step),
        )
    )
    return {
        "rate": spread([grid.voxels / s for s in seconds]),
        "file_share": min(load) / min(seconds),
        "operations": arithmetic.decoding(siren),
        "grid": list(grid.dims),
        # Where bf16 would cost precision a fit is decoded in fp32, which is slower.
        "arithmetic": getattr(archive.record(step), "precision", "fp32"),
    }


def _pretraining(
    series: Series,
    layout: BrickLayout,
    siren: SirenConfig,
    rounds: int,
    device: torch.device,
) -> dict[str, Any]:
    """Rounds/s of the default settings, and the products of a round.

    A round before the measured ones is not counted.
    """
    config = PretrainConfig(
        siren=siren, lambda_t=1, fraction=1 / 16, outer_steps=rounds + 1, device=device.type
    )
    tasks, samples = draw_samples(series, layout, config, no_progress).index.shape
    learned = pretrain(series, config)
    times = [0.0] + [row["seconds"] for row in learned.history]
    seconds = [times[i + 1] - times[i] for i in range(1, len(times) - 1)]
    count, batch = min(config.tasks or tasks, tasks), min(config.batch_size, samples)
    minibatches = count * config.inner_steps
    return {
        "rounds": spread([1 / s for s in seconds]),
        "tasks": count,
        "inner_steps": config.inner_steps,
        "batch_size": batch,
        "network_operations": minibatches * batch * arithmetic.training(siren),
        "muon_operations": minibatches * arithmetic.orthogonalizing(siren),
    }
