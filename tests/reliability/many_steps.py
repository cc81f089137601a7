"""Very long series: is the cost of all commands proportional to the number of steps?

Makes series of small volumes, then measures the seconds and the memory of each command on them.

    .venv/bin/python tests/reliability/many_steps.py --steps 1000 10000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def write_series(folder: Path, steps: int, size: int, seed: int) -> None:
    """A wave that moves on, ``size``³ voxels, in the layout of the published code."""
    (folder / "speed").mkdir(parents=True)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    phase = np.random.default_rng(seed).random()
    for step in range(steps):
        values = np.sin(2 * x + 0.01 * step + phase) * np.cos(1.5 * y) + 0.5 * z
        values.astype("<f4").tofile(folder / "speed" / f"long-speed-{step + 1}.raw")
    index = {"name": "long", "dims": [size] * 3, "vars": ["speed"], "total_samples": steps}
    (folder / "dataset.json").write_text(json.dumps(index))


def commands(folder: Path, steps: int) -> Iterator[tuple[str, list[str]]]:
    series, prior, archive = (str(folder / n) for n in ("series", "p.safetensors", "run.minr"))
    small = ["--width", "8", "--hidden-layers", "1"]
    yield "pretrain", ["pretrain", series, "-o", prior, "--outer-steps", "10", *small]
    yield "encode", ["encode", series, "-o", archive, "--prior", prior, "--epochs", "1"]
    yield "encode again", ["encode", series, "-o", archive, "--prior", prior, "--epochs", "1"]
    yield "info", ["info", archive]
    out = str(folder / "one.pvd")
    yield "decode one step", ["decode", archive, "-o", out, "--steps", str(steps // 2)]
    yield "compare 3 steps", ["compare", series, archive, "--steps", f"0:{steps}:{steps // 2}"]
    yield "decode all", ["decode", archive, "-o", str(folder / "all.pvd")]


def measured(arguments: list[str]) -> tuple[float, float]:
    """Seconds, and the largest memory in MB."""
    code = (
        "import resource, sys; from metainr_core.cli import main; status = main();"
        " print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr);"
        " sys.exit(status)"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--json"], capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return seconds, int(done.stderr.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--size", type=int, default=8, help="voxels along each axis")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    rows: dict[str, list[str]] = {}
    for steps in options.steps:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            write_series(folder / "series", steps, options.size, options.seed)
            for command, arguments in commands(folder, steps):
                seconds, memory = measured(arguments)
                print(f"{steps} steps, {command}: {seconds:.1f} s, {memory:.0f} MB", flush=True)
                rows.setdefault(command, []).append(f"{seconds:.1f} s, {memory:.0f} MB")
            index = os.path.getsize(folder / "run.minr")
            rows.setdefault("index", []).append(f"{index / 1e6:.2f} MB")
    print(f"\n| {options.size}³ voxels | " + " | ".join(f"{n} steps" for n in options.steps) + " |")
    print("|---" * (1 + len(options.steps)) + "|")
    for command, figures in rows.items():
        print(f"| {command} | " + " | ".join(figures) + " |")


if __name__ == "__main__":
    main()
