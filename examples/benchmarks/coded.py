"""Coded weights: what they lose, what decoding them costs, and bounds on the error with them.

    python examples/benchmarks/coded.py [--only fidelity,decoding,bounds] SERIES [SERIES…]

Default network and settings, the first steps of every series. Prints a Markdown table per part;
bounds needs pip install pysz.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import peers
from benchmarks.markdown import number, percent, table
from benchmarks.rate_plot import range_width

from metainr_core import Archive, EncodeConfig, PretrainConfig, Prior, Series, encode, open_series
from metainr_core import pretrain as learn

STEPS = 6
PLAIN: dict[str, Any] = {"weights": "float32"}
CODED: dict[str, Any] = {"weights": "coded"}
KINDS = {"float32": PLAIN, "coded": CODED}
LOSSES = (0.1, 0.3, 0.5, 1.0)
STARTS = ("meta", "previous")
BOUNDS = (1e-2, 3e-3, 1e-3, 1e-4)
ROUNDS = 11
Rows = list[list[str]]


def archive_of(
    series: Series, prior: Prior, folder: Path, name: str, steps: int, fields: dict[str, Any]
) -> Archive:
    """The first ``steps`` of the series with the default settings, but for ``fields``."""
    config = EncodeConfig.preset("default", **fields)
    return encode(series, folder / f"{name}.minr", prior=prior, config=config, steps=range(steps))


def quality(archive: Archive) -> tuple[float, float]:
    """PSNR over the series' range, dB, and bytes of a step file, means over the steps."""
    sizes = [archive.step_path(step).stat().st_size for step in archive.steps]
    return mean(record.psnr_series for record in archive.records), mean(sizes)


def fidelity(name: str, series: Series, folder: Path) -> Rows:
    prior, count, rows = learn(series, PretrainConfig()), min(STEPS, len(series)), []
    for init in STARTS:
        plain = archive_of(series, prior, folder, f"{init}_plain", count, {"init": init, **PLAIN})
        psnr, size = quality(plain)
        row = [name, init, f"{psnr:.2f}, {size:,.0f}"]
        for loss in LOSSES:
            fields = {"init": init, "coding_loss": loss, **CODED}
            coded = archive_of(series, prior, folder, f"{init}_{loss:g}", count, fields)
            found, small = quality(coded)
            row.append(f"{found:.2f}, {small:,.0f}: **{size / small:.1f}**, {psnr - found:+.2f}")
        rows.append(row)
        print(" ", *row, sep=" | ", file=sys.stderr)
    return rows


def decoding(name: str, series: Series, folder: Path) -> Rows:
    prior, rows = learn(series, PretrainConfig(outer_steps=8)), []
    for init in STARTS:
        fields, count = {"init": init, "epochs": 1}, len(series)
        archives = {
            kind: archive_of(series, prior, folder, f"{init}_{kind}", count, {**fields, **more})
            for kind, more in KINDS.items()
        }
        precisions = {k: {r.precision for r in a.records} for k, a in archives.items()}
        steps = list(range(len(series)))
        for order in ("in order", "at random"):
            seconds: dict[str, list[float]] = {kind: [] for kind in archives}
            for turn in range(ROUNDS):
                if order == "at random":
                    random.Random(turn).shuffle(steps)
                for kind, archive in archives.items():
                    seconds[kind].append(_time(archive.path, steps))
            plain, coded = (median(seconds[kind]) / len(steps) for kind in ("float32", "coded"))
            exact = ", ".join(f"{k} {'/'.join(sorted(v))}" for k, v in precisions.items())
            figures = [number(1000 * plain), number(1000 * coded), percent(coded / plain - 1)]
            rows.append([name, init, order, exact, *figures])
    return rows


def _time(path: Path, steps: list[int]) -> float:
    """Processor seconds to decode every step, the archive opened anew: nothing is held.

    Not those of the clock, which other work on the machine lengthens.
    """
    archive = Archive.open(path)
    started = time.process_time()
    for step in steps:
        archive.decode(step, device="cpu")
    return time.process_time() - started


def bounds(name: str, series: Series, folder: Path) -> Rows:
    prior, count, rows = learn(series, PretrainConfig()), min(STEPS, len(series)), []
    data = peers.read_all(series)
    width = range_width(data)
    data = data[:count]
    algorithm = peers.sz3(peers.SZ3_ALGORITHMS[0])
    for bound in BOUNDS:
        row = [name, f"{bound:g}"]
        for kind, more in KINDS.items():
            fields = {"max_error": bound * width, **more}
            archive = archive_of(series, prior, folder, f"{kind}_{bound:g}", count, fields)
            row.append(f"{quality(archive)[1]:,.0f}")
        found = [
            sum(
                len(algorithm.pack(peers.arrange(step[..., c], layout), bound * width))
                for step in data
                for c in range(data.shape[-1])
            )
            for layout in peers.LAYOUTS["per step"]
        ]
        rows.append([*row, f"{min(found) / count:,.0f}"])
        print(" ", *rows[-1], sep=" | ", file=sys.stderr)
    return rows


PARTS = {
    "fidelity": (
        fidelity,
        " | ".join(
            [
                "series | init | float32: PSNR dB, bytes a step",
                *(f"coding_loss {loss:g}: the same: times smaller, lost dB" for loss in LOSSES),
            ]
        ),
    ),
    "decoding": (
        decoding,
        "series | init | steps | decoded in | float32, ms a step | coded, ms a step | slower by",
    ),
    "bounds": (
        bounds,
        "series | bound over the range | float32 and residual, bytes a step"
        " | coded and residual | SZ3 per step",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("series", nargs="+", help=".pvd, a quoted glob of .vti, or a folder")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    options = parser.parse_args()
    for part in options.only.split(","):
        measure, columns = PARTS[part]
        rows: Rows = []
        for text in options.series:
            with tempfile.TemporaryDirectory() as folder:
                rows += measure(Path(text).stem, open_series(text), Path(folder))
        print(f"\n**{part}**\n\n{table(columns, rows)}", flush=True)


if __name__ == "__main__":
    main()
