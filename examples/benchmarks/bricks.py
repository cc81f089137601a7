"""Bricks against one network for the whole volume: equal weights, PSNR over seconds.

    python examples/turbulence.py turbulence128 --size 128 --steps 6
    python examples/benchmarks/bricks.py turbulence128/turbulence.pvd [STEP]

Fits one step (default: the last, which no prior here has seen) and prints a Markdown table, with
the error in the voxels on both sides of every seam between bricks relative to that elsewhere.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from metainr_core import (
    Archive,
    ArraySeries,
    EncodeConfig,
    PretrainConfig,
    Prior,
    SirenConfig,
    encode,
    open_series,
    pretrain,
)

WHOLE = SirenConfig(width=128, hidden_layers=3)
SMALL = SirenConfig(width=14, hidden_layers=3, brick_size=32)
MIDDLE = SirenConfig(width=23, hidden_layers=3, brick_size=48)
LARGE = SirenConfig(width=38, hidden_layers=4, brick_size=64)
DEFAULT = SirenConfig(width=20, hidden_layers=3, brick_size=32)
# The best found for the whole volume: every voxel once a pass, the usual first layer halved.
PLAIN_ADAM = EncodeConfig(
    epochs=16, init="random", optimizer="adam", batch_size=4096, learning_rate=5e-4, selection="all"
)
COLUMNS = "layout", "weights", "init", "pretrain s", "epochs", "fit s", "PSNR dB", "seam / inside"

# Network, whether it starts from a prior, how it is fitted. What is not given is the default.
RUNS = [
    (WHOLE, True, EncodeConfig(epochs=4)),
    (WHOLE, False, EncodeConfig(epochs=4, init="random")),
    (WHOLE, False, PLAIN_ADAM),
    *[(SMALL, True, EncodeConfig(epochs=n)) for n in (1, 8, 32)],
    *[(SMALL, False, EncodeConfig(epochs=n, init="random")) for n in (1, 8)],
    *[(MIDDLE, True, EncodeConfig(epochs=n)) for n in (1, 8, 40)],
    *[(LARGE, True, EncodeConfig(epochs=n, batch_size=512)) for n in (1, 8, 32)],
    *[(DEFAULT, True, EncodeConfig(epochs=n)) for n in (1, 4, 8)],
    *[(DEFAULT, True, EncodeConfig(epochs=n, init="previous")) for n in (1, 2)],
]
EDGES = (64, 128, 256)


def seam_ratio(archive: Archive, step: int, original: np.ndarray) -> float | None:
    """RMS error in the voxels next to a seam over that in all others; None without seams."""
    if archive.layout.bricks == 1:
        return None
    squared = ((archive.decode(step) - original).astype(np.float64) ** 2)[..., 0]
    near = np.zeros(squared.shape, bool)
    for axis, cut in enumerate(reversed(archive.layout.axes)):
        planes = [p for seam in cut.seams for p in (seam, seam + 1)]
        near.swapaxes(0, axis)[planes] = True
    return float(np.sqrt(squared[near].mean() / squared[~near].mean()))


def main(path: str, step: int | None) -> None:
    series = open_series(path)
    step = len(series) - 1 if step is None else step
    original = series.read(step)
    priors: dict[SirenConfig, tuple[Prior, float]] = {}
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    for siren, from_prior, config in RUNS:
        if from_prior and siren not in priors:
            started = time.perf_counter()
            learned = pretrain(series, PretrainConfig(siren=siren))
            priors[siren] = learned, time.perf_counter() - started
        prior, seconds = priors[siren] if from_prior else (None, 0.0)
        if prior is None:
            config = EncodeConfig.from_json({**config.to_json(), "siren": siren})
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "run.minr"
            steps = range(step + 1) if config.init == "previous" else [step]
            archive = encode(series, file, prior=prior, config=config, steps=steps)
            record = archive.record(step)
            seam = seam_ratio(archive, step, original)
        bricks = archive.layout.bricks
        layout = f"{bricks} × {siren.width}×{siren.hidden_layers}"
        batch = config.resolved(bricks, archive.header.siren.width).batch_size
        cells = (
            layout,
            str(bricks * siren.parameters(series.components)),
            f"{_start(config, prior)}, {config.optimizer}, batch {batch}",
            f"{seconds:.0f}" if prior else "",
            str(config.epochs),
            f"{record.seconds:.1f}",
            f"{record.psnr_series:.2f}",
            f"{seam:.2f}" if seam else "",
        )
        print("| " + " | ".join(cells) + " |", flush=True)
    print("\n| volume | fit, 1 pass, s | µs per voxel |\n|---|---|---|", flush=True)
    for edge in EDGES:
        seconds = fit_seconds(edge)
        print(f"| {edge}³ | {seconds:.2f} | {seconds / edge**3 * 1e6:.3f} |", flush=True)


def _start(config: EncodeConfig, prior: Prior | None) -> str:
    return config.init if config.init == "previous" else "prior" if prior else "random"


def fit_seconds(edge: int) -> float:
    """Of one pass of the default bricks over a volume of ``edge``³ voxels."""
    axis = np.linspace(0, 9, edge, dtype=np.float32)
    volume = np.sin(axis[:, None, None]) * np.sin(2 * axis[:, None]) + np.sin(3 * axis)
    series = ArraySeries([volume])
    config = EncodeConfig(siren=DEFAULT, init="random", epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        return encode(series, Path(folder) / "run.minr", config=config).record(0).seconds


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python examples/benchmarks/bricks.py SERIES [STEP]")
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else None)
