"""PSNR over the compression ratio: whole archives of Meta-INR against SZ3 and ZFP.

    python examples/benchmarks/rate_distortion.py SERIES [SERIES…] [--out FOLDER] [--quick]
        [--only peers,ours] [--device auto|cpu|cuda]

An archive counts with its prior, its index and all that lies in its folder; PSNR is that of what
decode returns. Writes results.json, rate_distortion.md and rate_distortion.png to the folder; a
series measured again replaces itself, its part (peers, ours) alone. pip install pysz zfpy.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import machine, peers, rate_plot
from benchmarks.rate_plot import PARTS, Point
from benchmarks.results import Results

from metainr_core import (
    Archive,
    EncodeConfig,
    Grid,
    MetaINRError,
    PretrainConfig,
    Prior,
    Series,
    choose_siren,
    encode,
    open_series,
    pretrain,
)
from metainr_core.device import find_device
from metainr_core.errors import SettingsError
from metainr_core.layout import WHOLE_VOLUME_VOXELS

# Ratios asked for, and those on a large volume, which takes long.
RATIOS = {
    "Meta-INR": (30, 60, 100, 150, 200, 300, 500, 1000),
    "Meta-INR, steps on their own": (60, 150, 300),
}
LARGE_RATIOS = {"Meta-INR": (100, 200, 300, 1000)}
STARTS = {"Meta-INR, steps on their own": "meta"}


@dataclass(frozen=True)
class Setting:
    """One archive. ``curve``: the line that it is a point of; ``name``: this point.

    ``pretrain``: of the prior, which settings that agree in it share; None for no prior.
    ``encode``: fields of ``EncodeConfig``. ``problem``: why it cannot be had, or nothing.
    """

    curve: str
    name: str
    pretrain: PretrainConfig | None
    encode: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def settings(grid: Grid, quick: bool = False) -> list[Setting]:
    """What is measured on a series with ``grid``: change the rows here."""
    large = grid.voxels > WHOLE_VOLUME_VOXELS
    widest = 8 if quick else 20 if large else 64
    ratios: Mapping[str, Sequence[float]] = LARGE_RATIOS if large else RATIOS
    if quick:
        ratios = {"Meta-INR": (30,)}
    rounds = {"outer_steps": 2} if quick else {}
    rows = []
    for curve, wanted in ratios.items():
        start = {"init": STARTS.get(curve, "previous"), "epochs": 1 if quick else 4}
        for ratio in wanted:
            name, fields = f"{ratio:g}:1", {**start, "target_ratio": ratio}
            try:
                siren = choose_siren(grid, target_ratio=ratio)
            except SettingsError as error:
                rows.append(Setting(curve, name, None, fields, str(error)))
                continue
            config = PretrainConfig.preset("default", siren=siren, **rounds)
            rows.append(Setting(curve, f"{name}, width {siren.width}", config, fields))
        siren = choose_siren(grid, width=widest)
        config = PretrainConfig.preset("default", siren=siren, **rounds)
        rows.append(Setting(curve, f"no ratio asked for, width {widest}", config, start))
    return rows


def ours(
    series: Series, data: np.ndarray, rows: Sequence[Setting], device: str
) -> Iterator[tuple[Setting, Point | str]]:
    """Each setting and its point, or why there is none. ``data``: of ``peers.read_all``."""
    priors: dict[PretrainConfig, tuple[Prior, float]] = {}
    for row in rows:
        prior, before = None, 0.0
        if row.problem:
            yield row, row.problem
            continue
        if row.pretrain is not None:
            if row.pretrain not in priors:
                started = time.perf_counter()
                found = pretrain(series, dataclasses.replace(row.pretrain, device=device))
                priors[row.pretrain] = found, time.perf_counter() - started
            prior, before = priors[row.pretrain]
        config = EncodeConfig.preset("default", **{"device": device, **row.encode})
        try:
            point = _point(row.name, series, data, prior, before, config)
        except SettingsError as error:
            yield row, str(error)
        else:
            yield row, point


def _point(
    name: str,
    series: Series,
    data: np.ndarray,
    prior: Prior | None,
    before: float,
    config: EncodeConfig,
) -> Point:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.minr"
        started = time.perf_counter()
        encode(series, file, prior=prior, config=config)
        encoded = time.perf_counter()
        archive = Archive.open(file)
        decoded = np.stack(
            [archive.decode(step, device=config.device) for step in range(len(series))]
        )
        restored = time.perf_counter()
        return Point(
            variant=name,
            ratio=data.nbytes / archive.total_bytes,
            seconds=encoded - started,
            restore_seconds=restored - encoded,
            before=before,
            **rate_plot.score(data, decoded.reshape(data.shape), rate_plot.range_width(data)),
        )


def measure(
    part: str, name: str, series: Series, device: torch.device, results: Results, quick: bool
) -> None:
    """One part of one series into ``results``, each curve written as it grows."""
    data = peers.read_all(series)
    if rate_plot.range_width(data) == 0:
        raise MetaINRError(f"{name} has one value everywhere; there is nothing to compare")
    dims = "×".join(map(str, series.grid.dims))
    more = {"dims": dims, "count": len(series), "components": series.components}
    entry = results.begin(f"rate_{part}/{name}", machine.describe(device), quick, **more)
    curves: dict[str, list[dict[str, Any]]] = {}

    def add(label: str, points: Sequence[Point]) -> None:
        curves.setdefault(label, []).extend(map(dataclasses.asdict, points))
        entry["rows"] = [{"label": k, "points": v} for k, v in curves.items()]
        results.save()
        (results.folder / "rate_distortion.md").write_text(rate_plot.report(results.data))
        print(f"  {part} {label}: {points[-1].variant}", flush=True)

    if part == "peers":
        bounds = peers.BOUNDS[::5] if quick else peers.BOUNDS
        for label, points in peers.curves(data, bounds):
            add(label, points)
    else:
        for row, found in ours(series, data, settings(series.grid, quick), device.type):
            if isinstance(found, Point):
                add(row.curve, [found])
            else:
                entry.setdefault("missing", []).append(f"{row.curve}, {row.name}: {found}")
                print(f"  without {entry['missing'][-1]}", flush=True)
                results.save()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("series", nargs="+", help=".pvd, a quoted glob of .vti, or a folder")
    parser.add_argument("--out", type=Path, default=Path("benchmark"), metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="few settings: does it work?")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    options = parser.parse_args(arguments)
    parts = options.only.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"--only {unknown[0]}: expected some of {', '.join(PARTS)}")
    try:
        device, results = find_device(options.device), Results(options.out)
        for text in options.series:
            path = Path(text)
            name = path.parent.name if path.name == "dataset.json" else path.stem
            print(name, flush=True)
            for part in parts:
                measure(part, name, open_series(text), device, results, options.quick)
    except (MetaINRError, ImportError) as error:
        more = "; pip install pysz zfpy, or --only ours" if isinstance(error, ImportError) else ""
        sys.exit(f"error: {error}{more}")
    drawn = rate_plot.draw(options.out / "rate_distortion.png", rate_plot.collect(results.data))
    print(f"wrote {options.out}/rate_distortion.md, results.json{' and a plot' if drawn else ''}")


if __name__ == "__main__":
    main()
